# SPDX-License-Identifier: Apache-2.0
"""Reference pages say what the code says: settings, bounds, metrics, topics, codes, verbs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentguard import bounds
from agentguard.config import SETTINGS
from agentguard.contracts.codes import Code
from agentguard.contracts.topics import Topic
from agentguard.telemetry import CATALOGUE
from tests.documents.documents import ROOT, documents
from tests.documents.make_reference import PAGES, bound_groups, help_of, verbs

_VERB = re.compile(r"(?<![\w/.@-])agentguard ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
VERBS = set(verbs())


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES)
def test_reference_page_is_what_its_script_writes(path: str) -> None:
    written = (ROOT / path).read_text(encoding="utf-8")
    assert written == PAGES[path](), "python -P -m tests.documents.make_reference"


def test_every_setting_is_documented() -> None:
    text = page("operate/settings.md")
    assert [name for name in SETTINGS if f"| `{name}` |" not in text] == []


def test_every_bound_is_documented_under_a_heading() -> None:
    public = {n for n in vars(bounds) if n.isupper()}
    assert {n for names in bound_groups().values() for n in names} == public
    text = page("operate/bounds.md")
    assert [n for n in public if f"| `{n}` | {getattr(bounds, n):,} |" not in text] == []


def test_every_metric_is_documented() -> None:
    text = page("operate/metrics.md")
    assert [m.name for m in CATALOGUE if f"| `{m.name}` | {m.kind.value} |" not in text] == []


def test_every_topic_is_documented() -> None:
    text = page("operate/topics.md")
    assert [t.value for t in Topic if f"| `{t.value}` |" not in text] == []


def test_every_code_is_documented_with_its_reason() -> None:
    text = page("codes.md")
    assert [c.value for c in Code if f"| `{c.value}` |" not in text] == []


def test_every_verb_is_documented_with_its_help() -> None:
    text = page("cli.md")
    for words in verbs():
        assert f"## `{' '.join(('agentguard', *words))}`\n" in text
        assert help_of(words) in text


def test_every_verb_says_what_it_does() -> None:
    for words in verbs():
        lines = help_of(words).splitlines()
        assert len(lines) > 2, words
        assert lines[2].startswith("  "), words


def test_every_verb_with_a_platform_prints_json() -> None:
    groups = {words[:-1] for words in verbs() if words}
    plain = [w for w in verbs() if w not in groups and "--json" not in help_of(w)]
    assert plain == []


def named_verbs(text: str) -> Iterator[tuple[str, ...]]:
    """Yields what a text gives as verbs of the command line and is none."""
    groups = {words[0] for words in VERBS if len(words) > 1}
    for first, second in _VERB.findall(text):
        if (first,) not in VERBS:
            yield (first,)
        elif first in groups and second and (first, second) not in VERBS:
            yield (first, second)


def strings_of(path: Path) -> Iterator[str]:
    """Yields the texts that a module's code can print: constants, and the begins of formats."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_message_points_to_a_verb_that_does_not_exist() -> None:
    found = [
        (str(path.relative_to(ROOT)), words)
        for folder in ("agentguard", "streams")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for text in strings_of(path)
        for words in named_verbs(text)
    ]
    assert found == []


def test_no_document_names_a_verb_that_does_not_exist() -> None:
    found = [
        (document.name, words)
        for document in documents()
        for code in re.findall(r"`([^`]+)`", document.read_text(encoding="utf-8"))
        for words in named_verbs(code)
    ]
    assert found == []


def test_a_verb_that_does_not_exist_would_be_noticed() -> None:
    assert list(named_verbs("run: agentguard mend")) == [("mend",)]
    assert list(named_verbs("agentguard kill everything")) == [("kill", "everything")]
    assert list(named_verbs("agentguard kill lift agent x; ~/.cache/agentguard unless set")) == []
