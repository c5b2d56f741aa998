# SPDX-License-Identifier: Apache-2.0
"""Which of the keys on record lie in this data folder, ready to sign."""

from __future__ import annotations

from pathlib import Path

from agentguard.adapters.mldsa_signer import MlDsaSigner
from agentguard.contracts.commands import KeyPurpose
from agentguard.contracts.errors import ConfigError
from agentguard.control.fold import ControlFold
from agentguard.local.founding import NamedSigner, control_path


def held_by_persons(data: Path, fold: ControlFold) -> tuple[NamedSigner, ...]:
    """Returns the signers in `founders/` whose keys are on record as a person's, by file name.

    Raises `ConfigError` where there is none: the keys were moved away, or were never here.
    """
    ids = _ids(fold, KeyPurpose.PERSON)
    signers = [MlDsaSigner.from_file(path) for path in sorted((data / "founders").glob("*.pem"))]
    held = tuple((ids[s.public_key], s) for s in signers if s.public_key in ids)
    if not held:
        raise ConfigError(
            "no personal key on record lies in `founders`",
            next_step="put the key files of the people who sign into the folder `founders`",
        )
    return held


def held_by_control_plane(data: Path, fold: ControlFold) -> NamedSigner | None:
    """Returns the control plane's own signer, or None where its key is not here or not on record."""
    path = control_path(data)
    if not path.exists():
        return None
    signer = MlDsaSigner.from_file(path)
    key_id = _ids(fold, KeyPurpose.CONTROL).get(signer.public_key)
    return None if key_id is None else (key_id, signer)


def _ids(fold: ControlFold, purpose: KeyPurpose) -> dict[bytes, str]:
    return {k.public_key: k.key_id for k in fold.keys().values() if k.purpose is purpose}
