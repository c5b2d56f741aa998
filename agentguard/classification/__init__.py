# SPDX-License-Identifier: Apache-2.0
"""Stage rules: where each argument came from, who asked for the call, how risky it is."""
