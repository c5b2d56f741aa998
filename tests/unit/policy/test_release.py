# SPDX-License-Identifier: Apache-2.0
"""Bundles: one form, everything else refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

import pytest

from agentguard.bounds import BUNDLE_BYTES_MAX
from agentguard.contracts.errors import ReleaseError
from agentguard.policy.release import (
    FILES_MAX,
    MANIFEST_NAME,
    build_bundle,
    make_manifest,
    read_bundle,
)
from tests import samples_policy as s


def packed(*entries: tuple[tarfile.TarInfo, bytes], **options: Any) -> bytes:
    """Returns a gzipped tar of any entries, as somebody else could make it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT, **options) as tar:
        for entry, body in entries:
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return gzip.compress(out.getvalue(), mtime=0)


def entries(**changes: Any) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Returns the baseline's members in canonical form; keywords change the last one."""
    made = []
    for name, body in sorted(s.baseline_files().items()):
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        made.append((info, body))
    for field, value in changes.items():
        setattr(made[-1][0], field, value)
    return made


def test_bundle_reads_back_as_what_went_in_and_is_named_by_its_digest() -> None:
    body = build_bundle(s.baseline_files())
    release = read_bundle(body)
    assert release.files == s.baseline_files()
    assert release.digest == hashlib.sha256(body).digest()
    assert release.manifest.revision == "baseline/1"
    assert dict(release.texts(release.manifest.metadata.rego)).keys() == {
        "agentguard/baseline.rego"
    }


def test_same_files_make_the_same_bytes_in_any_order() -> None:
    turned = dict(reversed(list(s.baseline_files().items())))
    assert build_bundle(turned) == build_bundle(s.baseline_files())
    assert packed(*entries()) == build_bundle(s.baseline_files())


def test_bundle_is_what_stock_opa_expects_of_one() -> None:
    manifest = json.loads(s.baseline_files()[MANIFEST_NAME])
    assert manifest["roots"] == ["agentguard"]
    assert manifest["rego_version"] == 1
    # OPA reads `data.json` and `data.yaml` of any folder as data; golden inputs must be none
    assert not [n for n in s.baseline_files() if n.rsplit("/", 1)[-1].startswith("data.")]


ODD = {
    "owner": {"uid": 1},
    "mode": {"mode": 0o755},
    "time": {"mtime": 1},
    "owner name": {"uname": "root"},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_bundle_in_another_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ReleaseError, match="canonical"):
        read_bundle(packed(*entries(**changes)))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
)
def test_bundle_with_anything_but_plain_files_is_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("agentguard/x.rego")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(ReleaseError, match="plain file"):
        read_bundle(packed(*entries(), (info, b"")))


@pytest.mark.parametrize(
    "name",
    [
        "../x.rego",
        "/agentguard/x.rego",
        "agentguard/../x.rego",
        "agentguard/./x.rego",
        "agentguard//x.rego",
        "agentguard/X.rego",
        "agentguard/x.rego\n",
        "agentguard/.x.rego",
        "agentguard/data.json",
        "data.json",
        ".signatures.json",
        "other/x.rego",
        "golden/a/b.json",
        "agentguard/" + "d/" * 9 + "x.rego",
    ],
)
def test_unexpected_member_is_refused(name: str) -> None:
    with pytest.raises(ReleaseError, match="unexpected member"):
        read_bundle(packed(*entries(), (tarfile.TarInfo(name), b"x")))


def test_member_twice_is_refused() -> None:
    with pytest.raises(ReleaseError, match="twice"):
        read_bundle(packed(*entries(), (tarfile.TarInfo("agentguard/baseline.rego"), b"x")))


def test_too_many_members_are_refused() -> None:
    many = [(tarfile.TarInfo(f"agentguard/x{i}.rego"), b"") for i in range(FILES_MAX + 1)]
    with pytest.raises(ReleaseError, match="more than"):
        read_bundle(packed(*many))


def test_bytes_after_the_bundle_are_refused() -> None:
    body = build_bundle(s.baseline_files())
    for more in (b"x", body, b"\0" * 512):
        with pytest.raises(ReleaseError):
            read_bundle(body + more)
    hidden = gzip.compress(gzip.decompress(body) + b"\0" * 10_240, mtime=0)
    with pytest.raises(ReleaseError, match="canonical"):
        read_bundle(hidden)


BROKEN = gzip.compress(b"x", mtime=0)[:12] + bytes(20)


@pytest.mark.parametrize(
    "body", [b"", b"x" * 20, BROKEN, gzip.compress(b"no tar at all" * 100, mtime=0)]
)
def test_bytes_that_are_no_bundle_are_refused(body: bytes) -> None:
    with pytest.raises(ReleaseError):
        read_bundle(body)


def test_cut_bundle_is_refused_at_every_length() -> None:
    body = build_bundle(s.baseline_files())
    for length in range(0, len(body), 97):
        with pytest.raises(ReleaseError):
            read_bundle(body[:length])


def test_bundle_that_unpacks_to_too_much_is_refused_without_unpacking_it() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, 9, mtime=0)
    assert len(bomb) < BUNDLE_BYTES_MAX
    with pytest.raises(ReleaseError, match="too large"):
        read_bundle(bomb)


def test_bundle_above_its_bound_is_refused() -> None:
    with pytest.raises(ReleaseError, match="larger"):
        read_bundle(b"\0" * (BUNDLE_BYTES_MAX + 1))


def manifest(**changes: Any) -> dict[str, bytes]:
    """Returns the baseline's files with changed members of the manifest (None leaves one out)."""
    plain = json.loads(s.baseline_files()[MANIFEST_NAME])
    metadata = plain["metadata"]
    for name, value in changes.items():
        target = metadata if name in metadata or name == "odd" else plain
        target[name] = value
    return dict(s.baseline_files()) | {MANIFEST_NAME: json.dumps(plain).encode()}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rego_version": 0}, "Rego version 1"),
        ({"roots": [""]}, "one root"),
        ({"roots": ["agentguard", "system"]}, "one root"),
        ({"input": "agentguard.policy.input/2"}, "policy input"),
        ({"golden": []}, "golden"),
        ({"rego": []}, "exactly the files"),
        ({"cedar": ["cedar/baseline.cedar", "cedar/other.cedar"]}, "exactly the files"),
        ({"revision": 1}, "does not fit"),
        ({"wasm": []}, "does not fit"),
        ({"odd": 1}, "does not fit"),
    ],
)
def test_manifest_that_says_something_else_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        build_bundle(manifest(**changes))


def test_bundle_without_manifest_is_refused() -> None:
    files = {k: v for k, v in s.baseline_files().items() if k != MANIFEST_NAME}
    with pytest.raises(ReleaseError, match="no manifest"):
        build_bundle(files)


def test_text_that_is_not_utf8_is_refused() -> None:
    files = {k: v for k, v in s.baseline_files().items() if k != MANIFEST_NAME}
    files["agentguard/baseline.rego"] = b"\xff"
    release = read_bundle(build_bundle(files | {MANIFEST_NAME: make_manifest(files, revision="r")}))
    with pytest.raises(ReleaseError, match="UTF-8"):
        release.texts(release.manifest.metadata.rego)
