# SPDX-License-Identifier: Apache-2.0
"""The function: decision = decide(request, state, control, observations, semantics)."""
