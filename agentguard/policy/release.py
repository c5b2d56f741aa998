# SPDX-License-Identifier: Apache-2.0
"""A policy release as a bundle: a gzipped tar that is an OPA bundle as far as its Rego goes.

There is exactly one tar for a set of files (sorted names, fixed owner, mode and time), and reading
refuses every other: links, duplicates, odd names, a second header for one file or bytes after the
end can then mean nothing, because two readers of one archive cannot disagree.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from agentguard.bounds import BUNDLE_BYTES_MAX
from agentguard.contracts.errors import ReleaseError
from agentguard.policy.document import INPUT_SCHEMA

MANIFEST_NAME: Final = ".manifest"
SCHEMA_NAME: Final = "schema.cedarschema"
REGO_ROOT: Final = "agentguard"
FILES_MAX: Final = 512
UNPACKED_BYTES_MAX: Final = 8 * BUNDLE_BYTES_MAX
_GZIP_WINDOW: Final = 31
_MEMBER: Final = re.compile(
    r"\.manifest"
    r"|schema\.cedarschema"
    r"|agentguard(/[a-z0-9][a-z0-9_]{0,63}){1,8}\.rego"
    r"|cedar(/[a-z0-9][a-z0-9_]{0,63}){1,8}\.cedar"
    r"|golden/[a-z0-9][a-z0-9_]{0,63}\.json"
)


class Languages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which files are written in which language; `golden` are the inputs of the self check."""

    cedar: tuple[str, ...]
    golden: tuple[str, ...]
    input: str
    rego: tuple[str, ...]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bundle's own description (OPA, "Bundles"); `revision` names it for people."""

    metadata: Languages
    rego_version: int
    revision: str
    roots: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A bundle that was read: `digest` is the SHA-256 of its body, `files` all members."""

    digest: bytes
    manifest: Manifest
    files: Mapping[str, bytes]

    def texts(self, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Returns (name, text) of these files. Raises `ReleaseError` where one is not UTF-8."""
        try:
            return tuple((name, self.files[name].decode()) for name in names)
        except UnicodeDecodeError as error:
            raise ReleaseError("a file of the bundle is not UTF-8") from error


def make_manifest(files: Mapping[str, bytes], *, revision: str) -> bytes:
    """Returns the manifest that describes these files."""
    names = sorted(files)
    manifest = Manifest(
        metadata=Languages(
            cedar=tuple(n for n in names if n.startswith("cedar/")),
            golden=tuple(n for n in names if n.startswith("golden/")),
            input=INPUT_SCHEMA,
            rego=tuple(n for n in names if n.startswith("agentguard/")),
        ),
        rego_version=1,
        revision=revision,
        roots=(REGO_ROOT,),
    )
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def build_bundle(files: Mapping[str, bytes]) -> bytes:
    """Returns the bundle of these files, manifest included: the same bytes every time.

    Raises `ReleaseError` where `read_bundle` would refuse the result.
    """
    body = gzip.compress(_tar(files), mtime=0)
    read_bundle(body)
    return body


def read_bundle(body: bytes) -> Release:
    """Returns the release in a bundle's body. Raises `ReleaseError` with what is wrong.

    Nothing is written anywhere and no more than `UNPACKED_BYTES_MAX` is unpacked.
    """
    if len(body) > BUNDLE_BYTES_MAX:
        raise ReleaseError(f"the bundle is larger than {BUNDLE_BYTES_MAX} bytes")
    archive = _gunzip(body)
    files = _members(archive)
    if _tar(files) != archive:
        raise ReleaseError("the bundle is not in its one canonical form")
    manifest = _manifest(files)
    return Release(digest=hashlib.sha256(body).digest(), manifest=manifest, files=files)


def _gunzip(body: bytes) -> bytes:
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        archive = stream.decompress(body, UNPACKED_BYTES_MAX)
    except zlib.error as error:
        raise ReleaseError("the bundle is not a gzip stream") from error
    if not stream.eof or stream.unused_data:
        raise ReleaseError("the bundle is cut, too large unpacked, or has bytes after its end")
    return archive


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(files[name]))
    return out.getvalue()


def _members(archive: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for entry in tar:
                _check_member(entry, files)
                content = tar.extractfile(entry)
                files[entry.name] = b"" if content is None else content.read()
    except (tarfile.TarError, ValueError, OSError, EOFError) as error:
        raise ReleaseError("the bundle is not a tar archive") from error
    return files


def _check_member(entry: tarfile.TarInfo, files: Mapping[str, bytes]) -> None:
    if not entry.isreg():
        raise ReleaseError("the bundle holds something that is not a plain file")
    if _MEMBER.fullmatch(entry.name) is None:
        raise ReleaseError(f"the bundle holds an unexpected member `{entry.name[:80]!r}`")
    if entry.name in files:
        raise ReleaseError(f"the bundle holds `{entry.name}` twice")
    if len(files) >= FILES_MAX:
        raise ReleaseError(f"the bundle holds more than {FILES_MAX} files")


def _manifest(files: Mapping[str, bytes]) -> Manifest:
    if MANIFEST_NAME not in files:
        raise ReleaseError("the bundle has no manifest")
    try:
        manifest = msgspec.json.decode(files[MANIFEST_NAME], type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseError(f"the manifest does not fit: {error}") from error
    if manifest.rego_version != 1 or manifest.roots != (REGO_ROOT,):
        raise ReleaseError(f"a bundle is Rego version 1 under the one root `{REGO_ROOT}`")
    if manifest.metadata.input != INPUT_SCHEMA:
        raise ReleaseError(f"this build writes policy input `{INPUT_SCHEMA}`, not another one")
    if not manifest.metadata.golden:
        raise ReleaseError("a bundle needs at least one golden input")
    said = (*manifest.metadata.rego, *manifest.metadata.cedar, *manifest.metadata.golden)
    held = sorted(n for n in files if n not in (MANIFEST_NAME, SCHEMA_NAME))
    if sorted(said) != held:
        raise ReleaseError("the manifest does not list exactly the files of the bundle")
    return manifest
