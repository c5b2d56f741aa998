# SPDX-License-Identifier: Apache-2.0
"""Every way in which the control fold can refuse a command, with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Rejection(StrEnum):
    """Why a record of `ag.control` has no effect."""

    # the bytes
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"
    # the envelope
    WRONG_MODE = "wrong_mode"
    WRONG_CLUSTER = "wrong_cluster"
    WRONG_AUDIENCE = "wrong_audience"
    DUPLICATE = "duplicate"
    UNKNOWN_TYPE = "unknown_type"
    ABOVE_SEMANTICS = "above_semantics"
    BAD_INTERVAL = "bad_interval"
    MALFORMED_BODY = "malformed_body"
    WRONG_SCOPE = "wrong_scope"
    # who signed
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    NOT_ENOUGH_PERSONS = "not_enough_persons"
    TOO_MANY_SIGNATURES = "too_many_signatures"
    # what it meets
    STALE_SCOPE = "stale_scope"
    NO_GENESIS = "no_genesis"
    WRONG_GENESIS = "wrong_genesis"
    SECOND_GENESIS = "second_genesis"
    KEY_EXISTS = "key_exists"
    NO_SUCH_KEY = "no_such_key"
    CREDENTIAL_IN_USE = "credential_in_use"
    STALE_SEQUENCE = "stale_sequence"
    WRONG_PREVIOUS = "wrong_previous"
    NO_SUCH_RELEASE = "no_such_release"
    NOTHING_TO_LIFT = "nothing_to_lift"
    WRONG_NUMBER = "wrong_number"
    NO_SUCH_DIGEST = "no_such_digest"
    WRONG_GENERATION = "wrong_generation"
    OUTDATED = "outdated"


NEXT_STEPS: Mapping[Rejection, str] = {
    Rejection.UNDECODABLE: "read the record: agentguard audit query",
    Rejection.TOO_LARGE: "write a shorter command",
    Rejection.WRONG_MODE: "write the command with mode `live`",
    Rejection.WRONG_CLUSTER: "sign the command for this cluster",
    Rejection.WRONG_AUDIENCE: "sign the command for this cluster",
    Rejection.DUPLICATE: "nothing: this very command already took effect",
    Rejection.UNKNOWN_TYPE: "write a command type that the semantics in force know",
    Rejection.ABOVE_SEMANTICS: "two people switch on the newer semantics first",
    Rejection.BAD_INTERVAL: "only kills and lifts carry an interval, and it ends after it begins",
    Rejection.MALFORMED_BODY: "correct the command and sign it again",
    Rejection.WRONG_SCOPE: "sign the command with the scope that its body names",
    Rejection.BAD_SIGNATURE: "sign the command again with the keys on record",
    Rejection.UNKNOWN_KEY: "sign with a key on record: agentguard keys list",
    Rejection.NOT_ENOUGH_PERSONS: "another person signs too: making it looser takes two",
    Rejection.TOO_MANY_SIGNATURES: "leave out signatures that do not count",
    Rejection.STALE_SCOPE: "somebody changed this in between: read it, then sign again",
    Rejection.NO_GENESIS: "found the platform first: agentguard up",
    Rejection.WRONG_GENESIS: "this is not the log that this process is pinned to",
    Rejection.SECOND_GENESIS: "nothing: a log has one founding command",
    Rejection.KEY_EXISTS: "use a new key under a new key id",
    Rejection.NO_SUCH_KEY: "name a key on record: agentguard keys list",
    Rejection.CREDENTIAL_IN_USE: "make a new credential: agentguard agents register",
    Rejection.STALE_SEQUENCE: "release again: agentguard policy release",
    Rejection.WRONG_PREVIOUS: "release again: agentguard policy release",
    Rejection.NO_SUCH_RELEASE: "name an earlier release: agentguard policy show",
    Rejection.NOTHING_TO_LIFT: "name a kill in force: agentguard kill list",
    Rejection.WRONG_NUMBER: "name the semantics in force or the next one",
    Rejection.NO_SUCH_DIGEST: "name a multiple of the digest step that the log has passed",
    Rejection.WRONG_GENERATION: "name the generation that follows the one on record",
    Rejection.OUTDATED: "upgrade this process: newer semantics are in force",
}
