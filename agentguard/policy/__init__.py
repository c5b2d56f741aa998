# SPDX-License-Identifier: Apache-2.0
"""Policy: the closed input document, extractors, releases, and how results combine."""
