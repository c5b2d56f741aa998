"""The verbs that sign, run in process against the log in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner, Result

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.memory_log import MemoryLog
from agentguard.adapters.mldsa_signer import MlDsaSigner, MlDsaVerifier
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.cli import agents, keys, kill, policy, tools
from agentguard.cli.control_log import LogOpener
from agentguard.contracts.commands import Registration, SideEffect, StateDigest
from agentguard.contracts.errors import AgentGuardError, ConfigError
from agentguard.contracts.records import Trust
from agentguard.contracts.topics import Topic
from agentguard.control.envelope import make_command
from agentguard.control.fold import ControlFold
from agentguard.local.founding import Founding, control_path, found, founder_path
from agentguard.local.platform_files import (
    Credentials,
    Platform,
    StoreCredential,
    read_credentials,
    write_credentials,
    write_platform,
)
from agentguard.pipeline.control_feed import CONTROL, CONTROL_START
from agentguard.registry.agents import credential_hash

CLOCK, ENTROPY = SystemClock(), SystemEntropy()


@cache
def command_line() -> typer.Typer:
    made = typer.Typer()
    for name, group in (
        ("agents", agents.app),
        ("tools", tools.app),
        ("kill", kill.app),
        ("policy", policy.app),
        ("keys", keys.app),
    ):
        made.add_typer(group, name=name)
    return made


@dataclass(frozen=True)
class Here:
    """A founded data folder and its log."""

    data: Path
    log: MemoryLog
    founding: Founding

    def run(self, *words: str) -> Result:
        arguments = [*words, "--data", str(self.data)]
        return CliRunner().invoke(
            command_line(), arguments, obj=LogOpener(lambda platform: self.log)
        )

    def ask(self, *words: str, code: int = 0) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == code, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def error(self, *words: str) -> AgentGuardError:
        result = self.run(*words)
        assert isinstance(result.exception, AgentGuardError), result.output
        return result.exception

    def put(self, values: Sequence[bytes]) -> None:
        writer = self.log.writer("test")
        for value in values:
            writer.append(CONTROL.topic, value, key=None, partition=0)

    @property
    def fold(self) -> ControlFold:
        fold = ControlFold(AvroCodec(), MlDsaVerifier(), self.founding.genesis_digest)
        for record in self.log.reader(CONTROL_START).read(timeout_ms=0, records_max=5_000):
            fold.apply(record.offset, record.value)
        return fold


@pytest.fixture
def here(tmp_path: Path) -> Here:
    data = tmp_path / "data"
    founding = found(data, entropy=ENTROPY, clock=CLOCK)
    log = MemoryLog({Topic.CONTROL.value: 1, Topic.BUNDLES.value: 1}, clock=CLOCK, entropy=ENTROPY)
    platform = Platform(
        cluster=founding.cluster,
        bootstrap="",
        gateway="",
        store="",
        genesis_digest=founding.genesis_digest.hex(),
        audit_domain="agentguard.invalid",
        tenant="default",
        principals={},
    )
    write_platform(data, platform)
    store = StoreCredential(user="u", password="p")
    write_credentials(data, Credentials(agents={}, people={}, store=store))
    here = Here(data=data, log=log, founding=founding)
    here.put([founding.genesis_value])
    return here


def test_registered_agent_is_enabled_and_its_credential_proves_it(here: Here) -> None:
    answer = here.ask("agents", "register", "mail", "--owner", "ops", "--role", "assistant")
    assert (answer["accepted"], answer["controlOffset"]) == (True, 1)
    assert answer["assurance"] == "single_operator"
    agent = here.fold.agent_by_credential(credential_hash(answer["credential"]))
    assert agent is not None
    assert (agent.agent_id, agent.status, agent.owner) == ("mail", Registration.ENABLED, "ops")
    assert agent.roles == ("assistant",)
    assert read_credentials(here.data).agents["mail"].token == answer["credential"]


def test_credential_is_printed_once_and_lies_on_no_log(here: Here) -> None:
    result = here.run("agents", "register", "mail")
    token = read_credentials(here.data).agents["mail"].token
    assert result.stdout.count(token) == 1
    assert "control offset 1" in result.stdout
    assert "assurance: single_operator" in result.stdout
    records = here.log.reader(CONTROL_START).read(timeout_ms=0, records_max=10)
    assert all(token.encode() not in (record.value or b"") for record in records)
    assert token not in here.run("agents", "list").stdout


def test_registered_again_gets_a_new_credential_and_keeps_the_rest(here: Here) -> None:
    first = here.ask("agents", "register", "mail", "--role", "a", "--expires-days", "1")
    second = here.ask("agents", "register", "mail")
    assert here.fold.agent_by_credential(credential_hash(first["credential"])) is None
    agent = here.fold.agent_by_credential(credential_hash(second["credential"]))
    assert agent is not None
    assert (agent.roles, agent.expires_at_ms) == (("a",), 0)


def test_pending_agent_is_listed_and_not_enabled(here: Here) -> None:
    here.ask("agents", "register", "mail", "--pending")
    rows = here.ask("agents", "list")["agents"]
    assert [(row["agentId"], row["status"]) for row in rows] == [("mail", "pending")]


def test_blocked_agent_keeps_its_registration(here: Here) -> None:
    here.ask("agents", "register", "mail", "--role", "a")
    here.ask("agents", "block", "mail")
    agent = here.fold.agent("default", "mail")
    assert agent is not None
    assert (agent.status, agent.roles) == (Registration.BLOCKED, ("a",))
    assert "not registered" in str(here.error("agents", "block", "nobody"))


@pytest.mark.parametrize("name", ["a|b", "", " a", "x" * 201])
def test_agent_with_a_name_out_of_shape_is_not_appended(here: Here, name: str) -> None:
    assert here.error("agents", "register", name).code == "registration"
    assert here.fold.folded == 0


def test_with_one_founder_nothing_loosens_and_the_code_says_why(here: Here) -> None:
    founder_path(here.data, "founder-2").unlink()
    result = here.run("agents", "register", "mail")
    assert result.exit_code == 1
    assert "not_enough_persons" in result.stdout
    assert "next: another person signs too" in result.stdout
    assert read_credentials(here.data).agents == {}
    answer = here.ask("agents", "register", "mail", code=1)
    assert (answer["accepted"], answer["commands"][0]["code"]) == (False, "not_enough_persons")
    assert "credential" not in answer


def test_without_any_founder_the_control_key_still_kills_and_never_lifts(here: Here) -> None:
    for person in ("founder-1", "founder-2"):
        founder_path(here.data, person).unlink()
    assert here.ask("kill", "on", "agent", "mail")["accepted"]
    assert isinstance(here.error("kill", "lift", "agent", "mail"), ConfigError)
    assert isinstance(here.error("agents", "register", "mail"), ConfigError)
    control_path(here.data).unlink()
    assert isinstance(here.error("kill", "on", "agent", "other"), ConfigError)


def test_kill_is_listed_until_it_is_lifted(here: Here) -> None:
    here.ask("kill", "on", "tool", "send", "--reason", "leaks")
    row = here.ask("kill", "list")["kills"][0]
    assert (row["kind"], row["target"], row["state"]) == ("tool", "send", "in force")
    assert row["reason"] == "leaks"
    here.ask("kill", "lift", "tool", "send", "--reason", "mended")
    assert here.ask("kill", "list")["kills"] == []


@pytest.mark.parametrize(
    "words", [("global",), ("tenant", "default"), ("tenant",), ("session", "s|1"), ("release", "1")]
)
def test_every_kind_is_killed_and_lifted_by_the_same_words(
    here: Here, words: tuple[str, ...]
) -> None:
    assert here.ask("kill", "on", *words)["accepted"]
    assert here.ask("kill", "lift", *words)["accepted"]


def test_kill_for_a_time_ends_by_itself(here: Here) -> None:
    here.ask("kill", "on", "agent", "mail", "--minutes", "5")
    row = here.ask("kill", "list")["kills"][0]
    assert 0 < row["endMs"] - CLOCK.now_ms() <= 5 * 60_000


def test_kill_without_a_target_and_lift_of_nothing_say_what_to_do(here: Here) -> None:
    assert "needs a target" in str(here.error("kill", "on", "agent"))
    answer = here.ask("kill", "lift", "agent", "mail", code=1)
    assert answer["commands"][0]["code"] == "nothing_to_lift"


def test_unlabelled_tool_is_registered_carefully_and_relabelled(here: Here, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type":"object","properties":{"to":{},"text":{}}}')
    here.ask("tools", "register", "send", "--schema", str(schema), "--description", "sends")
    row = here.ask("tools", "list")["tools"][0]
    assert (row["sideEffect"], row["outputTrust"]) == ("write", "untrusted")
    assert row["decisiveArguments"] == "text, to"
    words = ("--side-effect", "send", "--decisive", "to", "--output-trust", "trusted")
    here.ask("tools", "register", "send", *words)
    tool = here.fold.tool("default", "send")
    assert tool is not None
    assert (tool.side_effect, tool.decisive_arguments) == (SideEffect.SEND, ("to",))
    assert (tool.output_trust, tool.description) == (Trust.TRUSTED, "sends")


def test_new_schema_makes_every_argument_decisive_again(here: Here, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"properties":{"to":{},"text":{}}}')
    here.ask("tools", "register", "send", "--schema", str(schema), "--decisive", "to")
    schema.write_text('{"properties":{"to":{},"bcc":{}}}')
    here.ask("tools", "register", "send", "--schema", str(schema))
    tool = here.fold.tool("default", "send")
    assert tool is not None
    assert tool.decisive_arguments == ("bcc", "to")


def test_tool_from_a_json_object_must_have_the_name_asked_for(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "tool.json"
    file.write_text('{"name":"send","side_effect":"send","output_trust":"trusted"}')
    here.ask("tools", "register", "send", "--from-json", str(file))
    assert here.ask("tools", "list")["tools"][0]["outputTrust"] == "trusted"
    assert "`send`" in str(here.error("tools", "register", "other", "--from-json", str(file)))


def test_import_registers_a_file_once(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "tools.yaml"
    file.write_text("tools:\n- name: a\n  side_effect: read\n- name: b\n  schema: {type: object}\n")
    assert here.ask("tools", "import", str(file))["registered"] == 2
    assert here.ask("tools", "import", str(file))["registered"] == 0
    assert [t.tool for t in here.fold.tools()] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", '[{"name":"a","name":"b"}]'),
        ("t.json", "["),
        ("t.yaml", "- name: a\n  side_effect: read\n  side_effect: send\n"),
        ("t.yaml", "- name: a\n  sideeffect: read\n"),
        ("t.yaml", "- !!python/object/apply:os.getcwd []\n"),
        ("t.yaml", "- [\n"),
        ("t.yaml", "- name: 2020-01-01\n"),
        ("missing.yaml", None),
    ],
)
def test_import_of_a_file_with_a_mistake_appends_nothing(
    here: Here, tmp_path: Path, name: str, text: str | None
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    assert here.error("tools", "import", str(file)).code in {"config", "registration"}
    assert here.fold.folded == 0


def test_released_baseline_is_in_force_and_shown(here: Here) -> None:
    first = here.ask("policy", "release")
    assert first["sequence"] == 1
    shown = here.ask("policy", "show")
    assert (shown["sequence"], shown["digest"]) == (1, first["digest"])
    assert not shown["expired"]
    name = next(n for n in shown["files"] if n.endswith(".rego"))
    assert "package" in here.run("policy", "show", "--file", name).stdout
    assert here.ask("policy", "release")["sequence"] == 2
    assert here.ask("policy", "show")["releases"] == [1, 2]


def test_policy_before_a_release_and_unknown_files_say_what_to_do(
    here: Here, tmp_path: Path
) -> None:
    assert here.error("policy", "show").next_step == "agentguard policy release"
    (tmp_path / "empty").mkdir()
    assert here.error("policy", "release", str(tmp_path / "empty")).code == "release"
    here.ask("policy", "release")
    assert "no file" in str(here.error("policy", "show", "--file", "other.rego"))


def test_third_person_joins_with_two_and_leaves_with_one(here: Here, tmp_path: Path) -> None:
    pem = tmp_path / "cyd.pem"
    seed = sha256(b"cyd").digest()
    MlDsaSigner.from_seed(seed).write_file(pem)
    here.ask("keys", "add", "cyd-1", str(pem), "--person", "cyd")
    assert "cyd" in here.fold.persons()
    public = tmp_path / "dee.pub.pem"
    other = mldsa.MLDSA44PrivateKey.from_seed_bytes(sha256(b"dee").digest()).public_key()
    public.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    here.ask("keys", "add", "dee-1", str(public), "--person", "dee")
    founder_path(here.data, "founder-2").unlink()
    here.ask("keys", "revoke", "cyd-1")
    assert here.fold.persons() == {"founder-1", "founder-2", "dee"}
    listed = here.ask("keys", "list")["keys"]
    assert [k["keyId"] for k in listed] == [
        "founder-1", "founder-2", "sealing-1", "control-1", "dee-1",
    ]  # fmt: skip
    assert "no key" in str(here.error("keys", "revoke", "cyd-1"))


def test_file_that_is_no_key_is_refused(here: Here, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for path in (junk, tmp_path / "missing.pem"):
        assert here.error("keys", "add", "x", str(path), "--person", "x").code == "config"


def test_folder_pinned_to_another_founding_signs_nothing(here: Here, tmp_path: Path) -> None:
    other = found(tmp_path / "other", entropy=ENTROPY, clock=CLOCK)
    log = MemoryLog({Topic.CONTROL.value: 1}, clock=CLOCK, entropy=ENTROPY)
    log.writer("test").append(CONTROL.topic, other.genesis_value, key=None, partition=0)
    there = Here(data=here.data, log=log, founding=other)
    assert "pinned" in str(there.error("agents", "register", "mail"))
    assert log.bounds(CONTROL) == (0, 1)


def test_state_that_differs_from_its_digest_stops_all_but_kills(here: Here) -> None:
    here.put([b"junk %d" % n for n in range(999)])
    wrong = make_command(
        StateDigest(at_offset=1_000, digest=bytes(32)),
        codec=AvroCodec(),
        cluster=here.founding.cluster,
        signers=[here.founding.control],
        nonce=bytes(16),
    )
    here.put([wrong])
    assert "digest" in str(here.error("agents", "register", "mail"))
    assert here.ask("kill", "on", "global")["accepted"]


def test_hostile_text_reaches_no_terminal(here: Here) -> None:
    here.ask("kill", "on", "session", "s\x1b[31m\n", "--reason", "\x1b]0;x\x07")
    assert "\x1b" not in here.run("kill", "list").stdout
