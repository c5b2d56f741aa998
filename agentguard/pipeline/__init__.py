# SPDX-License-Identifier: Apache-2.0
"""Runs stages on a log: runner, lanes, feeds, dead letters. Sees ports, never adapters."""
