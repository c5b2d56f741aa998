# SPDX-License-Identifier: Apache-2.0
"""Sentences of outputs that ask the agent for something, and which of them explains a call best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from agentguard.classification.asking import Asking, kind_of
from agentguard.classification.operations import Operation
from agentguard.classification.lexicon import POLITE, SECOND_PERSON
from agentguard.classification.text import OCCURRENCES_MAX, Text, is_imperative, words_of
from agentguard.contracts.facts import Origin, Source

CANDIDATES_PER_SOURCE_MAX: Final = 64
QUOTE_CHARS_MAX: Final = 600
TEXT_CHARS_MIN: Final = 12
BRIEF_CHARS_MAX: Final = 200
_PRESSING: Final = SECOND_PERSON | frozenset(
    ["must", "should", "shall", "need", "needs", "required", "ought"]
)


class Candidate(NamedTuple):
    """A sentence addressed to the agent that has something in common with the call."""

    score: int
    source: int
    sentence: int
    origin: Origin
    verb: bool
    values: int


class Home(NamedTuple):
    """A place where a value stands plainly."""

    source: int
    start: int


class Instructions:
    """The sentences of one call's sources, looked at only where something of the call stands."""

    def __init__(
        self,
        operation: Operation,
        asking: Asking,
        sources: Sequence[Source],
        texts: Sequence[Text],
    ) -> None:
        self._operation = operation
        self._asking = asking
        self._sources = sources
        self._texts = texts
        self._addressed: dict[tuple[int, int], bool] = {}
        self._named: dict[int, bool] = {}
        self._mandated = -1
        self._reads = operation.groups == ("read",)

    def is_named(self, source: int) -> bool:
        """Returns whether the task names this source by the kind of thing it is.

        One step further counts too: an earlier output that the task names may name the next.
        """
        return (
            self._asking.hands_over()
            or self._is_named_by_task(source)
            or any(
                self._is_named_by_task(earlier)
                and not kind_of(self._sources[source].tool).isdisjoint(self._texts[earlier].words())
                for earlier in range(1, source)
            )
        )

    def _is_named_by_task(self, source: int) -> bool:
        known = self._named.get(source)
        if known is None:
            known = self._asking.names_tool(self._sources[source].tool)
            self._named[source] = known
        return known

    def speaks_for_task(self, source: int) -> bool:
        """Returns whether the task hands over to this source, so that its sentences may ask."""
        if self._mandated < 0:
            self._mandated = self._find_mandated()
        return source == self._mandated and source > 0

    def _find_mandated(self) -> int:
        """Returns the one source that the task hands over to, 0 for none.

        It is the first of its kind. Where all that is to be done is left to it, nothing of
        substance was read before it: a plan is read before what the plan leads to.
        """
        asking = self._asking
        everything = asking.hands_over() and asking.is_mild()
        if not everything and not (asking.leaves_details() and asking.verb):
            return 0
        for source in range(1, len(self._sources)):
            if self._is_named_by_task(source):
                return source
            if everything and len(self._texts[source].raw) > BRIEF_CHARS_MAX:
                return 0
        return 0

    def is_delegated_operation(self) -> bool:
        """Returns whether a source that the task hands over to asks for the operation."""
        if not self._asking.hands_over():
            return False
        return any(
            self.speaks_for_task(i) and self._operation_sentence(i) is not None
            for i in range(1, len(self._sources))
        )

    def _operation_sentence(self, source: int) -> int | None:
        text = self._texts[source]
        for sentence in self._sentences_with_verb(source):
            if self._about(frozenset(words_of(text.sentence(sentence)))):
                return sentence
        return None

    def _about(self, words: frozenset[str]) -> bool:
        operation = self._operation
        return not operation.asking.isdisjoint(words) and (
            operation.implied or not operation.objects or operation.object_hits(words) > 0
        )

    def origin_of(self, source: int) -> Origin:
        """Returns how far a source is trusted."""
        return self._sources[source].origin

    def home_of(self, first: int, needle: str) -> Home | None:
        """Returns the first place, from source `first` on, where nothing is asked about a value.

        None where every place of it asks the agent for something.
        """
        for source in range(first, len(self._sources)):
            start = self._plain_place(source, needle)
            if start >= 0:
                return Home(source, start)
        return None

    def _plain_place(self, source: int, needle: str) -> int:
        text = self._texts[source]
        at = text.find(needle) if needle in text.low else -1
        if at >= 0 and self.speaks_for_task(source):
            return at
        for _ in range(OCCURRENCES_MAX):
            if at < 0 or not self._asks_about(source, at, needle):
                return at
            at = text.find(needle, at + 1)
        return -1

    def _asks_about(self, source: int, at: int, needle: str) -> bool:
        """Returns whether the place of a value lies in a sentence that asks for something.

        A text that itself holds the asking sentence is what it says, not what is asked about.
        """
        text = self._texts[source]
        sentence = text.sentence_of(at)
        if " " in needle and len(needle) >= TEXT_CHARS_MIN:
            start, end = text.span(sentence)
            beside = text.low[start:at] + " it " + text.low[at + len(needle) : end]
            if not self._asks(beside):
                return False
        return self._is_addressed(source, sentence)

    def _is_addressed(self, source: int, sentence: int) -> bool:
        key = (source, sentence)
        known = self._addressed.get(key)
        if known is None:
            known = self._addressed[key] = self._judge(source, sentence)
        return known

    def _judge(self, source: int, sentence: int) -> bool:
        text = self._texts[source]
        if self._asks(text.sentence(sentence)):
            return True
        for back in (1, 2):
            before = sentence - back
            if before < 0 or text.is_paragraph_start(before + 1):
                return False
            lead = text.sentence(before)
            if not is_imperative(lead):
                continue
            if lead.endswith(":") or self._about(frozenset(words_of(lead))):
                return True
        return False

    def _asks(self, sentence: str) -> bool:
        """Imperatives and pleas always count, second person and obligation with the operation."""
        words = frozenset(words_of(sentence))
        if not POLITE.isdisjoint(words) or is_imperative(sentence):
            return True
        return not self._reads and not _PRESSING.isdisjoint(words) and self._about(words)

    def best(self, needles: Sequence[str]) -> Candidate | None:
        """Returns the sentence that explains the call best: highest overlap, ties to the earliest.

        `needles` are the values of the call that its task does not hold.
        """
        found: Candidate | None = None
        for source in range(1, len(self._sources)):
            if self.speaks_for_task(source):
                continue
            for sentence in self._sentences_of_interest(source, needles):
                candidate = self._candidate(source, sentence, needles)
                if candidate is not None and (found is None or candidate.score > found.score):
                    found = candidate
        return found

    def _sentences_of_interest(self, source: int, needles: Sequence[str]) -> list[int]:
        text = self._texts[source]
        found = set(self._sentences_with_verb(source))
        for needle in needles:
            if needle in text.low:
                at = text.find(needle)
                for _ in range(OCCURRENCES_MAX):
                    if at < 0:
                        break
                    found.add(text.sentence_of(at))
                    at = text.find(needle, at + 1)
        return sorted(found)[:CANDIDATES_PER_SOURCE_MAX]

    def _sentences_with_verb(self, source: int) -> Iterator[int]:
        text = self._texts[source]
        seen: set[int] = set()
        for form in self._operation.asking & text.words():
            at = text.find(form)
            for _ in range(OCCURRENCES_MAX):
                if at < 0:
                    break
                sentence = text.sentence_of(at)
                if sentence not in seen:
                    seen.add(sentence)
                    yield sentence
                at = text.find(form, at + 1)

    def _candidate(self, source: int, sentence: int, needles: Sequence[str]) -> Candidate | None:
        if not self._is_addressed(source, sentence):
            return None
        own = self._texts[source].sentence(sentence)
        words = frozenset(words_of(own))
        operation = self._operation
        verb = not operation.asking.isdisjoint(words)
        objects = operation.object_hits(words)
        values = sum(needle in own for needle in needles)
        if not values and not (verb and (objects or operation.implied)):
            return None
        score = 3 * values + 2 * verb + min(objects, 2) + min(len(operation.described & words), 2)
        origin = self._sources[source].origin
        return Candidate(score, source, sentence, origin, verb, values)

    def quote(self, candidate: Candidate) -> str:
        """Returns a sentence verbatim, at most 600 characters."""
        text = self._texts[candidate.source]
        start, end = text.original(*text.span(candidate.sentence))
        return text.raw[start:end][:QUOTE_CHARS_MAX]

    def original(self, source: int, start: int, length: int) -> tuple[int, int]:
        """Returns start and length in the source's own text."""
        first, last = self._texts[source].original(start, start + length)
        return first, last - first
