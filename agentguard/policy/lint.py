# SPDX-License-Identifier: Apache-2.0
"""The gate that the Rego of a release passes before it may decide anything.

Refused is what makes a decision depend on more than its input (clock, network, randomness), what
engines are known to read differently, and what allows by default. The gate reads the parsed
policies of the engine that will run them, so it judges what runs, not what a text looks like.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias, cast

from agentguard.contracts.errors import ReleaseError

Node: TypeAlias = "dict[str, Node] | list[Node] | str | int | float | bool | None"

ROOT: Final = "agentguard"
BASELINE: Final = "agentguard.baseline"
LIBRARY: Final = "agentguard.lib"
EXPORT: Final = "out"
# deterministic, total enough, and alike in every engine that was measured
BUILTINS: Final = frozenset(
    [
        "abs",
        "all",
        "any",
        "array.concat",
        "array.reverse",
        "array.slice",
        "ceil",
        "concat",
        "contains",
        "count",
        "endswith",
        "floor",
        "format_int",
        "glob.match",
        "indexof",
        "intersection",
        "is_array",
        "is_boolean",
        "is_null",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "lower",
        "max",
        "min",
        "object.filter",
        "object.get",
        "object.keys",
        "object.remove",
        "object.subset",
        "object.union",
        "product",
        "regex.match",
        "replace",
        "round",
        "semver.compare",
        "semver.is_valid",
        "sort",
        "split",
        "sprintf",
        "startswith",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "strings.reverse",
        "substring",
        "sum",
        "to_number",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "type_name",
        "union",
        "upper",
    ]
)


def rego_findings(asts: str) -> tuple[str, ...]:
    """Returns what is wrong with parsed policies; empty where they may run.

    `asts` is the engine's own JSON: a list of `{source: {file}, ast}`. Raises `ReleaseError`
    where it has another shape: what cannot be judged is not loaded.
    """
    try:
        modules = [_Module(cast("dict[str, Node]", m)) for m in json.loads(asts)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReleaseError("the parsed policies have an unknown shape") from error
    functions = frozenset(name for m in modules for name in m.functions)
    findings = [f"{m.file}: {f}" for m in modules for f in _module_findings(m, functions)]
    if BASELINE not in {m.package for m in modules}:
        findings.append(f"no package is called `{BASELINE}`")
    exporting = {m.package for m in modules if EXPORT in m.rules}
    findings += [
        f"package `{package}` exports no `{EXPORT}`"
        for package in sorted({m.package for m in modules} - exporting)
        if not (package + ".").startswith(LIBRARY + ".")
    ]
    return tuple(findings)


class _Module:
    """One parsed file: its package, the names of its rules, the full names of its functions."""

    def __init__(self, module: Mapping[str, Node]) -> None:
        source, ast = _object(module["source"]), _object(module["ast"])
        self.file = str(source["file"])
        self.is_v1 = ast.get("rego_v1") is True
        self.package = _dotted(_object(ast["package"])["refr"]) or "?"
        self.imports = [_object(i) for i in _array(ast["imports"])]
        self.body = _array(ast["rules"])
        self.rules: set[str] = set()
        self.functions: set[str] = set()
        for rule in self.body:
            self._note(_object(rule))

    def _note(self, rule: Mapping[str, Node]) -> None:
        if "Default" in rule:
            return
        for kind, head in _object(_object(rule["Spec"])["head"]).items():
            name = _dotted(_object(head)["refr"]) or "?"
            if kind == "Func":
                self.functions.add(f"data.{self.package}.{name}")
            self.rules.add(name)


def _module_findings(module: _Module, functions: frozenset[str]) -> Iterator[str]:
    if not module.is_v1:
        yield "is not Rego version 1"
    if not (module.package + ".").startswith(ROOT + "."):
        yield f"package `{module.package}` lies outside `{ROOT}`"
    for function in sorted(module.functions):
        name = function.removeprefix(f"data.{module.package}.")
        if name in BUILTINS:
            yield f"gives the builtin `{name}` another meaning"
    imported: dict[str, str] = {}
    for item in module.imports:
        path = _dotted(item["refr"]) or "?"
        if item.get("as") or (path != "rego.v1" and not path.startswith(f"data.{ROOT}.")):
            yield f"imports `{path}`, or under another name"
        imported[path.rsplit(".", 1)[-1]] = path
    known = functions | {f"data.{module.package}.{b}" for b in BUILTINS}
    for rule in module.body:
        yield from _default_findings(_object(rule))
        for node in _walk(rule):
            yield from _node_findings(node, module.package, known, imported)
    yield from _data_findings(module.body)


def _data_findings(body: Sequence[Node]) -> Iterator[str]:
    """Yields a finding where `data` is used other than as `data.agentguard` written out."""
    used = sum(_variable(node) == "data" for rule in body for node in _walk(rule))
    plain = sum(_dotted(node) == f"data.{ROOT}" for rule in body for node in _walk(rule))
    if used != plain:
        yield f"reads `data` other than as `data.{ROOT}`"


def _default_findings(rule: Mapping[str, Node]) -> Iterator[str]:
    if "Default" in rule:
        name = _dotted(_object(rule["Default"])["refr"]) or "?"
        if name.split(".", 1)[0] in ("allow", EXPORT):
            yield f"gives `{name}` a default: what is undefined must stay denied"


def _node_findings(
    node: dict[str, Node], package: str, known: frozenset[str], imported: Mapping[str, str]
) -> Iterator[str]:
    if node.get("with_mods"):
        yield "uses `with`, which replaces what a rule sees"
    if "Call" in node:
        name = _dotted(_object(node["Call"])["fcn"]) or "?"
        if known.isdisjoint((name, f"data.{package}.{name}", imported.get(name, name))):
            yield f"calls `{name}`"
    if "NotExpr" in node and any("Call" in n and _holds_reference(n["Call"]) for n in _walk(node)):
        # a missing member makes this undefined in one engine and true in another
        yield "negates a function of something looked up: bind the value first"


def _holds_reference(call: Node) -> bool:
    parameters = _object(call)["params"]
    return any(
        "RefDot" in n or "RefBrack" in n or _variable(n) in ("input", "data")
        for n in _walk(parameters)
    )


def _walk(node: Node) -> Iterator[dict[str, Node]]:
    """Yields every object of a tree; a stack, because a hostile policy may nest deep."""
    stack: list[Node] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _variable(node: Node) -> str | None:
    if isinstance(node, dict) and isinstance(node.get("Var"), dict):
        return str(_object(node["Var"]).get("value"))
    return None


def _dotted(node: Node) -> str | None:
    """Returns `a.b.c` for a reference written with names only, else None."""
    parts: list[str] = []
    while isinstance(node, dict):
        name = _variable(node)
        if name is not None:
            return ".".join([name, *reversed(parts)])
        if "RefDot" in node:
            inner = _object(node["RefDot"])
            parts.append(str(_array(inner["field"])[-1]))
        elif "RefBrack" in node:
            inner = _object(node["RefBrack"])
            index = _object(inner["index"])
            if "String" not in index:
                return None
            parts.append(str(_object(index["String"])["value"]))
        else:
            return None
        node = inner["refr"]
    return None


def _object(node: Node) -> dict[str, Node]:
    if not isinstance(node, dict):
        raise TypeError("not an object")
    return node


def _array(node: Node) -> Sequence[Node]:
    if not isinstance(node, list):
        raise TypeError("not a list")
    return node
