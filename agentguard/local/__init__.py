# SPDX-License-Identifier: Apache-2.0
"""The embedded platform: broker, founding, supervision, sample traffic."""
