"""The catalogue and the files agree, and every property can fail: its planted defects are caught."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import Phase, settings

from tests.properties.catalogue import OWED, TITLES

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("test_p[0-9][0-9]_*.py"))
EXAMPLES_MIN = 100


def number_of(path: Path) -> int:
    return int(path.name[6:8])


def module_of(path: Path) -> ModuleType:
    return importlib.import_module(f"tests.properties.{path.stem}")


def properties_of(module: ModuleType) -> list[Callable[[], None]]:
    found = [f for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    return [f for f in found if hasattr(f, "hypothesis")]


MUTANTS = [
    pytest.param(path, index, id=f"{path.stem}-{index}")
    for path in FILES
    for index in range(len(module_of(path).MUTANTS))
]


@contextmanager
def planted(dotted: str, replacement: Any) -> Iterator[None]:
    """Puts a defect in place of a name, also where it was imported by name."""
    owner, name = resolve(dotted)
    original = inspect.getattr_static(owner, name)
    places: list[tuple[Any, str]] = [(owner, name)]
    if isinstance(owner, ModuleType):
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("agentguard."):
                for key, value in list(vars(module).items()):
                    if value is original and (module, key) != (owner, name):
                        places.append((module, key))
    for place, key in places:
        setattr(place, key, replacement)
    try:
        yield
    finally:
        for place, key in places:
            setattr(place, key, original)


def resolve(dotted: str) -> tuple[Any, str]:
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise LookupError(dotted)


def test_every_property_has_a_file_or_is_owed_and_never_both() -> None:
    tested = {number_of(p) for p in FILES}
    assert tested | set(OWED) == set(TITLES)
    assert not tested & set(OWED)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file_carries_its_tag_enough_examples_and_mutants(path: Path) -> None:
    module = module_of(path)
    number = number_of(path)
    tag = f"Feature: ai-agent-security-platform, Property {number}: {TITLES[number]}"
    assert (module.__doc__ or "").splitlines()[0].strip().rstrip(".") == tag
    assert module.MUTANTS, "a property without planted defects has not shown that it can fail"
    found = properties_of(module)
    assert found, "no Hypothesis test in a property file"
    for f in found:
        own = getattr(f, "_hypothesis_internal_use_settings", None) or settings.default
        assert own is not None
        assert own.max_examples >= EXAMPLES_MIN
        assert not re.search(r"\bassume\(False\)", inspect.getsource(f))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("path", "index"), MUTANTS)
def test_planted_defect_is_caught(path: Path, index: int) -> None:
    module = module_of(path)
    dotted, replacement = module.MUTANTS[index]
    strict = settings(
        max_examples=EXAMPLES_MIN,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(settings.default.suppress_health_check),
    )
    with planted(dotted, replacement):
        for f in properties_of(module):
            before = getattr(f, "_hypothesis_internal_use_settings", None)
            f._hypothesis_internal_use_settings = strict  # type: ignore[attr-defined]
            try:
                f()
            except AssertionError:
                return
            except BaseExceptionGroup as group:
                if group.subgroup(AssertionError) is not None:
                    return
                raise
            finally:
                f._hypothesis_internal_use_settings = before  # type: ignore[attr-defined]
    pytest.fail(f"`{dotted}` was broken and no property of {path.name} noticed")
