# SPDX-License-Identifier: Apache-2.0
"""Grants: what a decision permits, to whom, for how long."""
