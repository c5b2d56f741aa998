# SPDX-License-Identifier: Apache-2.0
"""The control log: signed commands, their direction, the judge and the fold."""
