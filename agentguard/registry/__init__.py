# SPDX-License-Identifier: Apache-2.0
"""Registered agents and tools, and how a registration is pinned."""
