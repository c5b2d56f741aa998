# SPDX-License-Identifier: Apache-2.0
"""AgentGuard decides before each tool call of an AI agent whether it may run."""

__version__ = "0.1.0"
