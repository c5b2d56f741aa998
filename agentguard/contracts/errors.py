# SPDX-License-Identifier: Apache-2.0
"""One error tree. Each error carries a code, whether a retry can help, and the next step."""

from __future__ import annotations


class AgentGuardError(Exception):
    """Base of every error of ours.

    `code` is constant per class, the message is lower case without a full stop and holds no
    secret and no request content; `next_step` says what to do.
    """

    code = "internal"
    retryable = False
    next_step = "agentguard doctor"

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        if next_step is not None:
            self.next_step = next_step


class UndecodableError(AgentGuardError):
    """Bytes that are no record of ours. `fingerprint` is what they claim to be, or empty."""

    code = "undecodable"
    next_step = "read the dead letter that names this offset"

    def __init__(self, message: str, *, fingerprint: bytes = b"") -> None:
        super().__init__(message)
        self.fingerprint = fingerprint


class UnknownSchemaError(UndecodableError):
    """A frame whose fingerprint this build does not know.

    Where the control log lists that fingerprint, the build is too old: the process stops, and
    never skips the record. Where it does not, the bytes are undecodable for everybody.
    """


class ConfigError(AgentGuardError):
    """A setting that is missing, unknown or wrong."""

    code = "config"
    next_step = "correct the setting and start again"


class LogError(AgentGuardError):
    """The log refused or did not answer."""

    code = "log"
    retryable = True


class FatalLogError(AgentGuardError):
    """The log client is dead: only a new process helps."""

    code = "log_fatal"


class QueueFullError(AgentGuardError):
    """A bounded queue is full."""

    code = "queue_full"
    retryable = True


class EngineError(AgentGuardError):
    """A policy engine failed on an input. Always read as deny."""

    code = "engine_error"


class ReleaseError(AgentGuardError):
    """A policy release that cannot be used."""

    code = "release"
    next_step = "correct the folder and release it: agentguard policy release FOLDER"


class VerificationError(AgentGuardError):
    """Evidence that does not verify. `finding` is the constant name of what is wrong."""

    code = "verification"
    next_step = "keep the export and tell the auditor"

    def __init__(self, message: str, *, finding: str) -> None:
        super().__init__(message)
        self.finding = finding


class StoreError(AgentGuardError):
    """The store refused or did not answer."""

    code = "store"
    retryable = True
