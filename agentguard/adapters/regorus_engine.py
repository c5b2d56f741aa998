# SPDX-License-Identifier: Apache-2.0
"""`PolicyEngine` for Rego by regorus, the interpreter in this process.

A regorus engine belongs to the thread that made it: touching it from another one panics, and a
panic is a `BaseException`. So each thread makes its own from the release, and an engine that
failed is thrown away.
"""

from __future__ import annotations

import importlib.metadata
import threading
from typing import Final

import regorus

from agentguard.contracts.errors import EngineError, ReleaseError, UndecodableError
from agentguard.contracts.facts import EngineResult
from agentguard.policy import golden
from agentguard.policy.document import read_document
from agentguard.policy.lint import rego_findings
from agentguard.policy.outcome import read_out
from agentguard.policy.release import Release

ENTRY_POINT: Final = "data.agentguard.baseline.out"
ERROR_CHARS_MAX: Final = 200
_STOPS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)


class RegorusEngine:
    """The Rego part of one release. Safe to share between threads: each gets its own engine."""

    def __init__(self, release: Release) -> None:
        """Compiles and proves the release; raises `ReleaseError` where it cannot be trusted."""
        self._texts = release.texts(release.manifest.metadata.rego)
        if not self._texts:
            raise ReleaseError("the release holds no Rego")
        self._identity = f"regorus/{importlib.metadata.version('gordon-to-regorus')}"
        self._threads = threading.local()
        findings = rego_findings(_asts(self._make()))
        if findings:
            raise ReleaseError(f"the Rego of the release is refused: {'; '.join(findings[:5])}")
        if not golden.is_sound(self, golden.golden_inputs(release)):
            raise ReleaseError("the release decides one of its golden inputs otherwise")

    @property
    def identity(self) -> str:
        """Engine and version."""
        return self._identity

    def evaluate(self, document: bytes) -> EngineResult | None:
        """Returns what the release says about a policy input, or None for undefined.

        Raises `EngineError` where the input is not one, and for every error and panic.
        """
        try:
            read_document(document)
        except UndecodableError as error:
            raise EngineError("the policy input is not valid") from error
        return read_out(self._ask(document.decode()))

    def _ask(self, document: str) -> str:
        engine = getattr(self._threads, "engine", None)
        try:
            if engine is None:
                engine = self._threads.engine = self._make()
            engine.set_input_json(document)
            return str(engine.eval_rule_as_json(ENTRY_POINT))
        except _STOPS:
            self._threads.engine = None
            raise
        except BaseException as error:  # a Rust panic is no Exception
            self._threads.engine = None
            raise EngineError(f"the policy engine failed: {_first_line(error)}") from error

    def _make(self) -> regorus.Engine:
        """Returns a new engine with the release's policies. Raises `ReleaseError`."""
        try:
            engine = regorus.Engine()
            for name, text in self._texts:
                engine.add_policy(name, text)
        except _STOPS:
            raise
        except BaseException as error:
            raise ReleaseError(f"the Rego does not compile: {_first_line(error)}") from error
        return engine


def _asts(engine: regorus.Engine) -> str:
    return str(engine.get_ast_as_json())


def _first_line(error: BaseException) -> str:
    # the binding adds a native backtrace below
    return str(error).split("\n\nStack backtrace", 1)[0][:ERROR_CHARS_MAX]
