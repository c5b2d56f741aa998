# SPDX-License-Identifier: Apache-2.0
"""What the body of a command must look like before anybody's signature counts.

The rules are those of semantics 1 and never change: a stricter rule is a new semantics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agentguard.bounds import (
    COMMAND_LIST_ITEMS_MAX,
    NAME_CHARS_MAX,
    REASON_CHARS_MAX,
    STATE_DIGEST_EVERY,
)
from agentguard.contracts.commands import (
    ActivateRelease,
    Assurance,
    CommandBody,
    Genesis,
    KeyEntry,
    KeyPurpose,
    Kill,
    Lift,
    NewGeneration,
    RegisterAgent,
    RegisterKey,
    RegisterTool,
    Registration,
    ReleaseMode,
    SchemaEntry,
    SealedTopics,
    Semantics,
    StateDigest,
    TargetKind,
    VoidDigest,
)
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.hashing import DIGEST_BYTES, tool_pin
from agentguard.contracts.names import name_fault
from agentguard.contracts.records import SignatureScheme
from agentguard.contracts.strict_json import parse_strict

ML_DSA_44 = "ML-DSA-44"
ML_DSA_44_PUBLIC_BYTES = 1_312
PERSONS_MIN = 2
CREDENTIAL_ID_CHARS = 8
_SEQUENCE = re.compile("[1-9][0-9]{0,18}")
# a key of another algorithm could not sign here, yet would count as somebody able to
SCHEMES = {ML_DSA_44: SignatureScheme.ML_DSA_44}


def body_fault(body: CommandBody) -> str:
    """Returns what is wrong with a command's body, or an empty text."""
    match body:
        case RegisterAgent():
            return _agent_fault(body)
        case RegisterTool():
            return _tool_fault(body)
        case Kill() | Lift():
            return _target_fault(body)
        case ActivateRelease():
            return _release_fault(body)
        case RegisterKey():
            return key_fault(body.key)
        case NewGeneration():
            return _generation_fault(body)
        case StateDigest():
            return _step_fault(body.at_offset)
        case VoidDigest():
            return _step_fault(body.at_offset) or _text_fault("reason", body.reason)
        case SealedTopics():
            return _sealed_fault(body)
        case Semantics():
            return _schemas_fault(body.schemas) if body.number > 0 else "`number` is below 1"
        case Genesis():
            return _genesis_fault(body)


def _named(label: str, name: str) -> str:
    fault = name_fault(name)
    return f"`{label}` {fault}" if fault else ""


def _first(faults: Iterable[str]) -> str:
    return next((fault for fault in faults if fault), "")


def _names_fault(label: str, names: Sequence[str]) -> str:
    if len(names) > COMMAND_LIST_ITEMS_MAX:
        return f"`{label}` holds more than {COMMAND_LIST_ITEMS_MAX} names"
    if len(set(names)) != len(names):
        return f"`{label}` names something twice"
    return _first(_named(label, name) for name in names)


def _text_fault(label: str, text: str) -> str:
    long = len(text) > REASON_CHARS_MAX
    return f"`{label}` has more than {REASON_CHARS_MAX} characters" if long else ""


def _agent_fault(body: RegisterAgent) -> str:
    if body.status is Registration.UNKNOWN:
        return "`status` is unknown"
    if body.expires_at_ms < 0:
        return "`expires_at_ms` is negative"
    with_id = len(body.credential_id) == CREDENTIAL_ID_CHARS
    with_hash = len(body.credential_hash) == DIGEST_BYTES
    without = not body.credential_id and not body.credential_hash
    if not (without or (with_id and with_hash)):
        return "`credential_id` and `credential_hash` do not fit together"
    return _first(
        (
            _named("tenant", body.tenant),
            _named("agent_id", body.agent_id),
            _names_fault("roles", body.roles),
            _names_fault("capabilities", body.capabilities),
            _text_fault("owner", body.owner),
            _text_fault("version", body.version),
            _text_fault("risk_profile", body.risk_profile),
        )
    )


def _tool_fault(body: RegisterTool) -> str:
    if body.status is Registration.UNKNOWN:
        return "`status` is unknown"
    if body.pin != tool_pin(body.description, body.schema_json):
        return "`pin` is not that of description and schema"
    return _first(
        (
            _named("tenant", body.tenant),
            _named("tool", body.tool),
            _schema_fault(body.schema_json),
            _names_fault("categories", body.categories),
            _names_fault("scopes", body.scopes),
            _arguments_fault("decisive_arguments", body.decisive_arguments),
            _arguments_fault("extractors", tuple(e.argument for e in body.extractors)),
            _first(_named("extractor", e.extractor) for e in body.extractors),
            _text_fault("server", body.server),
            _text_fault("version", body.version),
            _text_fault("operation", body.operation),
            _text_fault("resource", body.resource),
        )
    )


def _schema_fault(schema_json: str) -> str:
    if not schema_json:
        return ""
    try:
        schema = parse_strict(schema_json.encode())
    except UndecodableError:
        return "`schema_json` is not strict JSON"
    return "" if isinstance(schema, dict) else "`schema_json` is not an object"


def _arguments_fault(label: str, names: Sequence[str]) -> str:
    """Argument names are the tool's own member names: any text, but bounded and used once."""
    if len(names) > COMMAND_LIST_ITEMS_MAX:
        return f"`{label}` holds more than {COMMAND_LIST_ITEMS_MAX} names"
    if len(set(names)) != len(names):
        return f"`{label}` names something twice"
    fits = all(0 < len(name) <= NAME_CHARS_MAX for name in names)
    return "" if fits else f"`{label}` holds an empty or too long name"


def _target_fault(body: Kill | Lift) -> str:
    if fault := _text_fault("reason", body.reason):
        return fault
    match body.kind:
        case TargetKind.UNKNOWN:
            return "`kind` is unknown"
        case TargetKind.GLOBAL:
            return "`global` takes no tenant and no target" if body.tenant or body.target else ""
        case TargetKind.TENANT:
            return "`tenant` takes no target" if body.target else _named("tenant", body.tenant)
        case TargetKind.RELEASE:
            fits = _SEQUENCE.fullmatch(body.target) is not None and not body.tenant
            return "" if fits else "`target` is not a release sequence"
        case TargetKind.AGENT | TargetKind.USER | TargetKind.SESSION | TargetKind.TOOL:
            # users and sessions are named by callers: any text that a request can carry
            if not 0 < len(body.target) <= NAME_CHARS_MAX:
                return "`target` is empty or too long"
            return _named("tenant", body.tenant)


def _release_fault(body: ActivateRelease) -> str:
    if body.mode is ReleaseMode.UNKNOWN:
        return "`mode` is unknown"
    if body.sequence < 1 or body.expires_at_ms < 0 or body.rollback_of < 0:
        return "`sequence`, `expires_at_ms` or `rollback_of` is out of range"
    return ""


def key_fault(key: KeyEntry) -> str:
    """Returns what is wrong with a key, or an empty text."""
    if key.purpose is KeyPurpose.UNKNOWN:
        return "`purpose` is unknown"
    if key.algorithm not in SCHEMES:
        return "`algorithm` is not one that semantics 1 knows"
    if len(key.public_key) != ML_DSA_44_PUBLIC_BYTES:
        return "`public_key` has the wrong length"
    return _named("key_id", key.key_id) or _named("person", key.person)


def _generation_fault(body: NewGeneration) -> str:
    numbers = (body.partition, body.first_offset, body.old_size)
    if body.generation < 1 or any(number < 0 for number in numbers):
        return "`generation` or an offset is out of range"
    if body.first_offset > body.old_size:
        return "`first_offset` lies above the old head: nothing was lost"
    return _named("topic", body.topic) or _named("topic_id", body.topic_id)


def _step_fault(at_offset: int) -> str:
    fits = at_offset > 0 and at_offset % STATE_DIGEST_EVERY == 0
    return "" if fits else f"`at_offset` is not a multiple of {STATE_DIGEST_EVERY}"


def _sealed_fault(body: SealedTopics) -> str:
    if not body.topics:
        return "`topics` is empty"
    if any(topic.partitions < 1 for topic in body.topics):
        return "`partitions` is below 1"
    return _names_fault("topics", tuple(topic.topic for topic in body.topics)) or _first(
        _named("topic_id", topic.topic_id) for topic in body.topics
    )


def _schemas_fault(schemas: Sequence[SchemaEntry]) -> str:
    marks = {schema.fingerprint for schema in schemas}
    if len(marks) != len(schemas):
        return "`schemas` lists a fingerprint twice"
    return _first(_named("name", schema.name) for schema in schemas)


def _genesis_fault(body: Genesis) -> str:
    if body.semantics != 1:
        return "`semantics` is not 1"
    if not body.schemas:
        return "`schemas` is empty"
    if body.assurance is Assurance.UNKNOWN:
        return "`assurance` is unknown"
    keys = (*body.keys, *body.recovery.keys)
    if len({key.key_id for key in keys}) != len(keys):
        return "a key id appears twice"
    # one key under two names would let one person sign for two
    if len({key.public_key for key in keys}) != len(keys):
        return "a public key appears twice"
    return (
        _persons_fault(body)
        or _names_fault("persons", body.persons)
        or _first(key_fault(key) for key in keys)
        or _schemas_fault(body.schemas)
        or _text_fault("audit_domain", body.audit_domain)
    )


def _persons_fault(body: Genesis) -> str:
    holders = {key.person for key in body.keys if key.purpose is KeyPurpose.PERSON}
    if holders != set(body.persons):
        return "`persons` and the holders of personal keys differ"
    needed = (body.thresholds.loosen, body.thresholds.enforce_release)
    if min(needed) < PERSONS_MIN:
        return f"a threshold is below {PERSONS_MIN}"
    if max(needed) > len(holders):
        return "a threshold is above the number of persons"
    return ""
