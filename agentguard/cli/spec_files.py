# SPDX-License-Identifier: Apache-2.0
"""Reads what people write about tools: JSON strictly, YAML without its traps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentguard.contracts.errors import ConfigError, UndecodableError
from agentguard.contracts.facts import Json
from agentguard.contracts.strict_json import parse_strict

FILE_BYTES_MAX = 8_000_000


def read_bounded(path: Path) -> bytes:
    """Returns a file that a person named on the command line. Raises `ConfigError`."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(
                f"`{path.name}` is larger than {FILE_BYTES_MAX} bytes",
                next_step="name a smaller file",
            )
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"`{path.name}` cannot be read: {error.strerror}", next_step="name a file that exists"
        ) from error


def read_spec_file(path: Path) -> Json:
    """Returns the content of a `.json`, `.yaml` or `.yml` file. Raises `ConfigError`."""
    content = read_bounded(path)
    try:
        if path.suffix in {".yaml", ".yml"}:
            return parse_strict(json.dumps(_read_yaml(content)).encode())
        return parse_strict(content)
    except UndecodableError as error:
        raise ConfigError(f"`{path.name}` is not strict JSON: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"`{path.name}` holds what JSON cannot: {error}") from error


def _read_yaml(content: bytes) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(
            "reading YAML needs the platform extra", next_step="write the file as JSON"
        ) from error

    class UniqueLoader(yaml.SafeLoader):
        """The safe loader, which would let the second of two equal keys win in silence."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            """Returns the mapping. Raises `ConfigError` where a key appears twice."""
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise ConfigError(f"key `{twice}` appears twice in one mapping")
            return super().construct_mapping(node, deep=deep)

    try:
        return yaml.load(content, Loader=UniqueLoader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}") from error
