# SPDX-License-Identifier: Apache-2.0
"""What the logs say about each agent: the fold over requests and effective decisions."""
