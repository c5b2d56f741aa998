# SPDX-License-Identifier: Apache-2.0
"""Documents lead somewhere, are complete, and hold nothing of the machine they were written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.documents.documents import ROOT, blocks, documents, links, missing, paths

PAGES = documents()
README_LINES_MAX = 150
SECTIONS = ("Context", "Choice", "Price", "What would change it")
# put together here, so that this file does not hold what it looks for
MACHINE = re.compile(
    "|".join(
        [
            r"(?<![\w.])/" + r"(?:work|root|home)/(?!me/)\w",
            "pypi" + r"\.org",
            "python" + r"hosted\.org",
            "repo1?" + r"\.maven",
            "registry" + r"\.npmjs",
            "index" + r"[-_]url\s*=\s*http",
        ]
    )
)
TEXTS = {".md", ".py", ".yaml", ".toml", ".sql", ".rego", ".cedar", ".lock", ".json", ".properties"}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_and_every_named_file_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    dead = [link for link in links(text) if not (path.parent / link).exists()]
    gone = [name for name in paths(text) if not (ROOT / name).exists()]
    assert (dead, gone) == ([], [])


def test_readme_is_short_and_has_its_parts_in_order() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES_MAX
    parts = (
        "## Two commands", "## Try yours", "## The picture", "## What it guarantees",
        "## What it does not stop", "## Measured", "## Where to go", "## Licence",
    )  # fmt: skip
    assert missing(parts, text) == ()


def test_every_guarantee_of_the_readme_links_a_property_with_planted_defects() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    part = text.partition("## What it guarantees")[2].partition("\n## ")[0]
    claims = [line for line in part.splitlines() if line.startswith("* ")]
    assert len(claims) == 5
    for claim in claims:
        (target,) = links(claim)
        assert re.fullmatch(r"tests/properties/test_p\d\d_\w+\.py", target)
        assert re.search(
            r"^MUTANTS = [\[(]", (ROOT / target).read_text(encoding="utf-8"), re.MULTILINE
        )


def test_terminal_cut_of_the_readme_uses_words_that_the_code_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    cut = " ".join(text.partition("```text\n")[2].partition("```")[0].split())
    assert "was asked for by the output of `get_webpage`, not by the user" in cut
    assert len(text.partition("```text\n")[2].partition("```")[0].splitlines()) <= 13


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")), ids=lambda p: p.name
)
def test_decision_page_has_context_choice_price_and_what_would_change_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert missing(tuple(f"\n## {name}\n" for name in SECTIONS), text) == ()
    index = (path.parent / "README.md").read_text(encoding="utf-8")
    assert f"]({path.name})" in index


def test_every_heavy_dependency_has_a_page_that_names_it() -> None:
    pages = "\n".join(
        p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "decisions").glob("*.md")
    )
    for package in ("chDB", "gordon-to-regorus", "cedarpy", "confluent-kafka", "cryptography"):
        assert package in pages


def test_nothing_in_the_repository_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    found = []
    for name in listed:
        path = ROOT / name
        if path.suffix not in TEXTS or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [(name, match[0]) for match in MACHINE.finditer(text)]
    assert found == []


def test_a_machine_path_and_a_dead_link_would_be_noticed() -> None:
    assert MACHINE.search("see /" + "home/someone/x")
    assert list(links("[a](gone.md#part) and [b](https" + "://x.example)")) == ["gone.md"]
    assert list(paths("`agentguard/gone.py` and `not a path`")) == ["agentguard/gone.py"]
    (block,) = blocks("```sh\necho a\n# -> a\n# -> b\n```\n")
    assert missing(block.expected, "b a") == ("b",)
