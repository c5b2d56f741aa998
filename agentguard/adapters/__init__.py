# SPDX-License-Identifier: Apache-2.0
"""One real library a file, behind the ports of `contracts`."""
