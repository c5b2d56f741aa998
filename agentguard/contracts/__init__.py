# SPDX-License-Identifier: Apache-2.0
"""What crosses a border: records, commands, topics, codes, errors, ports."""
