# SPDX-License-Identifier: Apache-2.0
"""A lane's decision as a record value, or nothing where the log would not take it."""

from __future__ import annotations

import structlog

from agentguard.bounds import RECORD_BYTES_MAX
from agentguard.contracts.ports import Codec
from agentguard.contracts.records import Decision, DecisionCore, Measured, Mode

_log = structlog.get_logger("lane")


def frame_decision(codec: Codec, core: DecisionCore, measured: Measured) -> bytes | None:
    """Returns the value of the record; None where it cannot be written or is too large.

    What a request, a registration and a release together blow up is not resent for ever: the
    caller writes a denial in its place.
    """
    try:
        value = codec.encode(
            Decision(
                cluster=core.cluster,
                mode=Mode.LIVE,
                core=codec.encode(core),
                measured=measured,
                macs=(),
            )
        )
    except (ValueError, TypeError, OverflowError):
        _log.exception("decision_unwritable", offset=core.request_offset)
        return None
    if len(value) > RECORD_BYTES_MAX:
        _log.error("decision_too_large", offset=core.request_offset, size=len(value))
        return None
    return value
