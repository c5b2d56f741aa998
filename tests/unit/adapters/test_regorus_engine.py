# SPDX-License-Identifier: Apache-2.0
"""Rego by regorus: undefined, errors, panics, threads, and what does not load."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import pytest
import regorus

from agentguard.adapters.regorus_engine import RegorusEngine
from agentguard.contracts.errors import EngineError, ReleaseError
from agentguard.contracts.facts import EngineResult
from agentguard.contracts.records import Verdict
from agentguard.policy.combine import combine
from tests import samples_policy as s

HEAD = "package agentguard.baseline\n"
# decides the golden inputs as the baseline does; `%s` is what a test adds
SMALL = s.baseline_files()["agentguard/baseline.rego"].decode() + "\n%s\n"


def engine(added: str = "") -> RegorusEngine:
    return RegorusEngine(s.release(agentguard__baseline_rego=SMALL % added))


def test_engine_names_itself_with_its_version() -> None:
    assert engine().identity == "regorus/0.13.0"


def test_undefined_is_none_and_denied() -> None:
    text = SMALL % "" + ""
    named = text.replace(
        '"scopes": scopes}', '"scopes": scopes} if input.context.env != "undefined"'
    )
    undefined = RegorusEngine(s.release(agentguard__baseline_rego=named))
    body = s.document(request=s.request(environment="undefined"))
    assert undefined.evaluate(body) is None
    assert combine(undefined.evaluate(body)).verdict is Verdict.DENY


def test_error_at_evaluation_is_an_engine_error_and_the_next_call_works() -> None:
    broken = engine('deny contains x if { input.context.env == "boom"; x := to_number("a") }')
    with pytest.raises(EngineError, match="failed"):
        broken.evaluate(s.document(request=s.request(environment="boom")))
    assert broken.evaluate(s.document()) == s.rego().evaluate(s.document())


def test_what_no_policy_may_return_is_an_engine_error() -> None:
    odd = engine('deny contains "text" if input.context.env == "odd"')
    with pytest.raises(EngineError, match="no policy may return"):
        odd.evaluate(s.document(request=s.request(environment="odd")))


def test_two_rules_that_disagree_are_an_engine_error() -> None:
    torn = engine('out := 1 if input.context.env == "torn"')
    with pytest.raises(EngineError):
        torn.evaluate(s.document(request=s.request(environment="torn")))


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"null"])
def test_invalid_input_is_an_engine_error(body: bytes) -> None:
    with pytest.raises(EngineError, match="not valid"):
        s.rego().evaluate(body)


class Raises:
    """Stands where the native engine stands and ends as told."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def set_input_json(self, text: str) -> None:
        raise self.error


def test_native_panic_is_an_engine_error_and_the_engine_is_made_anew() -> None:
    shared = engine()
    made: list[Any] = []
    maker = threading.Thread(target=lambda: made.append(regorus.Engine()))
    maker.start()
    maker.join()
    # never freed: the binding also complains about freeing an engine of another thread
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made[0]))
    # an engine of another thread panics when it is touched: a real BaseException from Rust
    shared._threads.engine = made[0]
    with pytest.raises(EngineError, match="failed"):
        shared.evaluate(s.document())
    assert shared.evaluate(s.document()) == s.rego().evaluate(s.document())


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_stop_passes_through_and_the_engine_is_made_anew(stop: type[BaseException]) -> None:
    shared = engine()
    shared._threads.engine = Raises(stop())
    with pytest.raises(stop):
        shared.evaluate(s.document())
    assert shared.evaluate(s.document()) == s.rego().evaluate(s.document())


def test_threads_share_one_engine_object_and_never_each_others_input() -> None:
    shared = engine()
    kinds = {True: s.document(killed=True), False: s.document()}
    wanted = {killed: shared.evaluate(body) for killed, body in kinds.items()}
    wrong: list[EngineResult | None] = []

    def work(killed: bool) -> None:
        wrong.extend(
            answer
            for answer in (shared.evaluate(kinds[killed]) for _ in range(100))
            if answer != wanted[killed]
        )

    workers = [threading.Thread(target=work, args=(bool(i % 2),)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert wanted[True] != wanted[False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD + "out := {", "does not compile"),
        (HEAD + "out = x { x = 1 }", "does not compile"),
        (HEAD + 'out := http.send({"url": "u"})', "refused"),
        (HEAD + "out := 1", "golden"),
        (HEAD + "out := x", "golden"),
        ("package agentguard.other\nout := 1", "refused"),
        (HEAD + "x := " + "(" * 2_000 + "1" + ")" * 2_000, "does not compile"),
    ],
)
def test_release_that_cannot_be_trusted_does_not_load(text: str, why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        RegorusEngine(s.release(agentguard__baseline_rego=text))


def test_release_without_rego_does_not_load() -> None:
    with pytest.raises(ReleaseError, match="no Rego"):
        RegorusEngine(s.release(agentguard__baseline_rego=None))


def test_error_of_a_release_shows_no_native_trace() -> None:
    with pytest.raises(ReleaseError) as caught:
        RegorusEngine(s.release(agentguard__baseline_rego=HEAD + "out := {"))
    assert "backtrace" not in str(caught.value)
