# SPDX-License-Identifier: Apache-2.0
"""Names that a registration may use, refused before anybody signs."""

from __future__ import annotations

from agentguard.contracts.errors import AgentGuardError
from agentguard.contracts.names import name_fault


class RegistrationError(AgentGuardError):
    """A registration that cannot be made from what was given."""

    code = "registration"
    next_step = "correct the registration and send it again"


def check_name(label: str, name: str) -> str:
    """Returns the name as it is. Raises `RegistrationError` naming `label` and the fault."""
    fault = name_fault(name)
    if fault:
        raise RegistrationError(f"`{label}` {fault}")
    return name
