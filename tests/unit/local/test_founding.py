"""Founding a data folder: once, whole, and never again over what is there."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.contracts.commands import KeyPurpose
from agentguard.contracts.errors import ConfigError
from agentguard.control.fold import ControlFold
from agentguard.local.founding import (
    cluster_key_path,
    control_path,
    default_release_command,
    found,
    founder_path,
    genesis_path,
    sealing_path,
)
from agentguard.local.held_keys import held_by_control_plane, held_by_persons


@dataclass
class CountedEntropy:
    """Randomness that a test can repeat."""

    seed: bytes = b"seed"
    drawn: int = 0

    def token(self, size: int) -> bytes:
        self.drawn += 1
        return sha256(self.seed + self.drawn.to_bytes(4, "big")).digest()[:size]


class StillClock:
    """A clock that stands."""

    def now_ms(self) -> int:
        return 1_795_600_000_000

    def monotonic_ms(self) -> float:
        return 0.0


ENTROPY, CLOCK = CountedEntropy(), StillClock()


def fold_of(value: bytes, digest: bytes) -> ControlFold:
    fold = ControlFold(AvroCodec(), MlDsaVerifier(), digest)
    assert fold.apply(0, value).accepted
    return fold


def test_first_start_makes_keys_of_mode_0600_and_a_genesis_that_folds(tmp_path: Path) -> None:
    founding = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    fold = fold_of(founding.genesis_value, founding.genesis_digest)
    assert fold.cluster == founding.cluster
    assert fold.persons() == {"founder-1", "founder-2"}
    sealing = fold.sealing_key()
    assert sealing is not None
    assert sealing.public_key == founding.sealing[1].public_key
    assert fold.keys()[founding.control[0]].purpose is KeyPurpose.CONTROL
    for path in (
        founder_path(tmp_path, "founder-1"),
        founder_path(tmp_path, "founder-2"),
        sealing_path(tmp_path),
        control_path(tmp_path),
        cluster_key_path(tmp_path),
        genesis_path(tmp_path),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(founding.cluster_key) == 32
    assert list(tmp_path.rglob("*.draft")) == []


def test_second_start_uses_the_same_founding_to_the_byte(tmp_path: Path) -> None:
    first = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    second = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    assert second.genesis_value == first.genesis_value
    assert second.cluster_key == first.cluster_key
    assert second.cluster == first.cluster


def test_start_after_a_crash_before_genesis_keeps_the_keys_that_were_made(tmp_path: Path) -> None:
    first = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    genesis_path(tmp_path).unlink()
    control_path(tmp_path).unlink()
    second = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    assert second.founders[0][1].public_key == first.founders[0][1].public_key
    assert second.cluster_key == first.cluster_key
    assert second.genesis_digest != first.genesis_digest
    fold_of(second.genesis_value, second.genesis_digest)


@pytest.mark.parametrize("lost", ["founder", "sealing", "control", "cluster"])
def test_lost_key_of_a_founded_platform_is_never_replaced(tmp_path: Path, lost: str) -> None:
    found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    path = {
        "founder": founder_path(tmp_path, "founder-2"),
        "sealing": sealing_path(tmp_path),
        "control": control_path(tmp_path),
        "cluster": cluster_key_path(tmp_path),
    }[lost]
    path.unlink()
    with pytest.raises(ConfigError):
        found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    assert not path.exists()


def test_foreign_key_in_the_folder_is_refused(tmp_path: Path) -> None:
    found(tmp_path / "a", entropy=ENTROPY, clock=CLOCK)
    found(tmp_path / "b", entropy=ENTROPY, clock=CLOCK)
    sealing_path(tmp_path / "a").write_bytes(sealing_path(tmp_path / "b").read_bytes())
    with pytest.raises(ConfigError, match="founding command"):
        found(tmp_path / "a", entropy=ENTROPY, clock=CLOCK)


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_spoiled_files_are_named_and_left(tmp_path: Path, content: bytes) -> None:
    for place in (genesis_path, sealing_path, cluster_key_path):
        data = tmp_path / place.__name__
        found(data, entropy=ENTROPY, clock=CLOCK)
        place(data).write_bytes(content)
        with pytest.raises(ConfigError):
            found(data, entropy=ENTROPY, clock=CLOCK)
        assert place(data).read_bytes() == content


def test_cluster_id_is_kept_and_another_is_refused(tmp_path: Path) -> None:
    assert found(tmp_path, entropy=ENTROPY, clock=CLOCK, cluster="mine").cluster == "mine"
    assert found(tmp_path, entropy=ENTROPY, clock=CLOCK).cluster == "mine"
    with pytest.raises(ConfigError, match="`mine`"):
        found(tmp_path, entropy=ENTROPY, clock=CLOCK, cluster="yours")
    with pytest.raises(ConfigError):
        found(tmp_path / "b", entropy=ENTROPY, clock=CLOCK, cluster="a|b")


def test_first_release_folds(tmp_path: Path) -> None:
    founding = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    fold = fold_of(founding.genesis_value, founding.genesis_digest)
    released = default_release_command(founding, bytes(32), entropy=ENTROPY)
    assert fold.apply(1, released).accepted
    in_force = fold.release(0)
    assert in_force is not None
    assert in_force.sequence == 1


def test_keys_in_the_folder_are_found_by_what_is_on_record(tmp_path: Path) -> None:
    founding = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    fold = fold_of(founding.genesis_value, founding.genesis_digest)
    assert [name for name, _ in held_by_persons(tmp_path, fold)] == ["founder-1", "founder-2"]
    control = held_by_control_plane(tmp_path, fold)
    assert control is not None
    assert control[0] == "control-1"
    control_path(tmp_path).unlink()
    assert held_by_control_plane(tmp_path, fold) is None
    for path in (tmp_path / "founders").glob("*.pem"):
        path.unlink()
    with pytest.raises(ConfigError, match="founders"):
        held_by_persons(tmp_path, fold)


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    founding = found(tmp_path, entropy=ENTROPY, clock=CLOCK)
    assert repr(founding.cluster_key) not in repr(founding)
