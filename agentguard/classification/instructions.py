# SPDX-License-Identifier: Apache-2.0
"""Sentences of outputs that ask the agent for something, and which of them explains a call best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from agentguard.classification.asking import Asking, kind_of
from agentguard.classification.lexicon import SECOND_PERSON
from agentguard.classification.operations import Operation
from agentguard.classification.text import OCCURRENCES_MAX, Sentence, Text, words_of
from agentguard.classification.values import payees_of
from agentguard.contracts.facts import Origin, Source

CANDIDATES_PER_SOURCE_MAX: Final = 64
QUOTE_CHARS_MAX: Final = 600
TEXT_CHARS_MIN: Final = 12
BRIEF_CHARS_MAX: Final = 200
LEAD_SENTENCES_MAX: Final = 2
VICINITY_CHARS: Final = 150

# what follows a word that is a key or part of an address, and what stands before the latter
_NO_VERB: Final = frozenset(":@")
_IN_ADDRESS: Final = frozenset("@./")
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
        self._bills: dict[int, bool] = {}
        self._mandated = -1
        self.reads = operation.groups == ("read",)

    def is_named(self, source: int, start: int, *, addressed: bool) -> bool:
        """Returns whether the task names where a value stands.

        It names the kind of thing that the source is, or what the value's own surroundings speak
        of; or an earlier output that the task names speaks of this kind of thing. Where the value
        stands in a sentence that asks for something, only a name in that sentence counts.
        """
        asking = self._asking
        if addressed:
            text = self._texts[source]
            own = text.sentence(text.sentence_of(start))
            return not asking.names().isdisjoint(own.words)
        return (
            asking.hands_over()
            or self._is_named_by_task(source)
            or self._is_spoken_of(source, start, asking.telling_words())
            or any(
                self._is_named_by_task(earlier)
                and not kind_of(self._sources[source].tool).isdisjoint(self._texts[earlier].words())
                for earlier in range(1, source)
            )
        )

    def _is_spoken_of(self, source: int, start: int, words: frozenset[str]) -> bool:
        low = self._texts[source].low
        first = max(0, start - VICINITY_CHARS)
        around = low[first : start + VICINITY_CHARS]
        lead = around.rfind("\n\n", 0, start - first)
        tail = around.find("\n\n", start - first)
        around = around[lead + 1 if lead >= 0 else 0 : tail if tail >= 0 else len(around)]
        return not words.isdisjoint(words_of(around))

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
        return next(
            (
                i
                for i in self._sentences_with_verb(source)
                if self._about(text.sentence(i).word_set)
            ),
            None,
        )

    def _about(self, words: frozenset[str]) -> bool:
        """Returns whether words name the operation and what it acts on."""
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
        first = at
        if at >= 0 and self.speaks_for_task(source):
            return at
        for _ in range(OCCURRENCES_MAX):
            if at < 0 or not self._asks_about(source, at, needle):
                break
            at = text.find(needle, at + 1)
        else:
            at = -1
        return first if at < 0 <= first and self._is_bill(source) else at

    def _is_bill(self, source: int) -> bool:
        """Returns whether a source asks for the payment that the task asks for.

        A bill asks to be paid. It may, where the task asks for a payment and one payee is all that
        the source names: an instruction planted beside the bill's own payee is a second one.
        """
        asking = self._asking
        if not (asking.verb and asking.objects and "pay" in self._operation.groups):
            return False
        known = self._bills.get(source)
        if known is None:
            known = self._bills[source] = len(payees_of(self._texts[source].low)) == 1
        return known

    def _asks_about(self, source: int, at: int, needle: str) -> bool:
        """Returns whether the place of a value lies in a sentence that asks for something.

        A text that itself holds the asking sentence is what it says, not what is asked about.
        """
        text = self._texts[source]
        index = text.sentence_of(at)
        if " " in needle and len(needle) >= TEXT_CHARS_MIN:
            own = text.sentence(index)
            beside = text.low[own.start : at] + " it " + text.low[at + len(needle) : own.end]
            if not self._asks(Sentence(beside, 0, len(beside))):
                return False
        return self._is_addressed(source, index)

    def _is_addressed(self, source: int, sentence: int) -> bool:
        key = (source, sentence)
        known = self._addressed.get(key)
        if known is None:
            known = self._addressed[key] = self._judge(self._texts[source], sentence)
        return known

    def _judge(self, text: Text, index: int) -> bool:
        """A sentence asks by itself, or goes on from one that does."""
        if self._asks(text.sentence(index)):
            return True
        for before in range(index - 1, max(-1, index - 1 - LEAD_SENTENCES_MAX), -1):
            lead = text.sentence(before)
            if lead.is_imperative() and (lead.low.endswith(":") or self._about(lead.word_set)):
                return not any(text.is_paragraph_start(i) for i in range(before + 1, index + 1))
        return False

    def _asks(self, sentence: Sentence) -> bool:
        """Imperatives and pleas always count, second person and obligation with the operation."""
        return sentence.is_plea() or (
            not self.reads
            and not _PRESSING.isdisjoint(sentence.word_set)
            and self._about(sentence.word_set)
        )

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
        found = set[int]() if self.reads else set(self._sentences_with_verb(source))
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
        """Yields the sentences that use a verb of the operation; `mail:` is a key, not a verb."""
        text = self._texts[source]
        low = text.low
        seen: set[int] = set()
        for form in self._operation.asking & text.words():
            at = text.find(form)
            for _ in range(OCCURRENCES_MAX):
                if at < 0:
                    break
                end = at + len(form)
                if low[end : end + 1] not in _NO_VERB and low[at - 1 : at] not in _IN_ADDRESS:
                    index = text.sentence_of(at)
                    if index not in seen:
                        seen.add(index)
                        yield index
                at = text.find(form, end)

    def _candidate(self, source: int, index: int, needles: Sequence[str]) -> Candidate | None:
        operation = self._operation
        sentence = self._texts[source].sentence(index)
        words = sentence.word_set
        verb = not operation.asking.isdisjoint(words)
        objects = operation.object_hits(words)
        values = sum(needle in sentence.low for needle in needles)
        if not values and not (verb and (objects or operation.implied)):
            return None
        if not self._is_addressed(source, index):
            return None
        score = 3 * values + 2 * verb + min(objects, 2) + min(len(operation.described & words), 2)
        return Candidate(score, source, index, self._sources[source].origin, verb, values)

    def quote(self, candidate: Candidate) -> str:
        """Returns a sentence verbatim, at most 600 characters."""
        text = self._texts[candidate.source]
        sentence = text.sentence(candidate.sentence)
        start, end = text.original(sentence.start, sentence.end)
        return text.raw[start:end][:QUOTE_CHARS_MAX]

    def original(self, source: int, start: int, length: int) -> tuple[int, int]:
        """Returns start and length in the source's own text."""
        first, last = self._texts[source].original(start, start + length)
        return first, last - first
