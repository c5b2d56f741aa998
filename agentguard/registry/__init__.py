# SPDX-License-Identifier: Apache-2.0
"""Registered agents and tools, and how a registration is pinned."""

from agentguard.registry.tools import pin_of

__all__ = ["pin_of"]
