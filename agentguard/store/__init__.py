# SPDX-License-Identifier: Apache-2.0
"""The ClickHouse sink, the embedded engine and its read-only door."""
