# SPDX-License-Identifier: Apache-2.0
"""Evidence: sections, hash chains, Merkle trees, checkpoints, export, verification."""
