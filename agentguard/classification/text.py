# SPDX-License-Identifier: Apache-2.0
"""Hostile text made comparable: one folded form, its words and its sentences, all in linear time."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from typing import Final

from agentguard.classification.lexicon import IMPERATIVES, LEAD_INS, POLITE, is_imperative_start

OCCURRENCES_MAX: Final = 16
FOLDED_CHARS_MAX: Final = 65_536

# signs that people and models exchange for one another; all of length one, so offsets stay
_SAME_LENGTH: Final = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2010": "-", "\u2011": "-",
        "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u00a0": " ", "\u202f": " ",
        "\u2009": " ", "\u2028": "\n", "\u2029": "\n", "\u2022": "-", "\u2026": ".",
    }
)  # fmt: skip
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_PUNCTUATION: Final = str.maketrans({c: " " for c in map(chr, range(128)) if not c.isalnum()})

# INVARIANT: every alternative is linear; no quantifier is nested in another.
# A newline before a lower-case word that is no `key:` only wraps the line.
_CUT: Final = re.compile(
    r"""[.?!]+(?=[\s"')\]\\]|$)|\n(?![ \t]*(?:\(|[a-z][\w'-]*[^\w:'-]))|\\n|["'],\s|[{}<>|]"""
)
# an opening bracket is no such sign: what stands in brackets explains, it does not ask
_CLAUSE: Final = re.compile(r":(?!//)|[;)\]*#\"\\|=]+|--+")
_CONNECTIVES: Final = frozenset(["and", "then", "so", "but", "please", "now"])
CLAUSES_MAX: Final = 12
IMPERATIVE_WORDS_MIN: Final = 3


class Sentence:
    """One sentence of a text; `start` and `end` are offsets in the text's `low`."""

    __slots__ = ("_imperative", "end", "low", "start", "word_set", "words")

    def __init__(self, low: str, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.low = low
        self.words = words_of(low)
        self.word_set = frozenset(self.words)
        self._imperative: bool | None = None

    def is_imperative(self) -> bool:
        """Returns whether one of its clauses opens with an imperative."""
        if self._imperative is None:
            self._imperative = not IMPERATIVES.isdisjoint(self.word_set) and is_imperative(self.low)
        return self._imperative

    def is_plea(self) -> bool:
        """Returns whether it asks politely or in the imperative."""
        return not POLITE.isdisjoint(self.word_set) or self.is_imperative()


class Text:
    """One source in the forms that comparing needs; made for one call and thrown away.

    `low` is folded: lower case, compatibility forms resolved, invisible characters gone. `is_cut`
    says that it would have become longer than `FOLDED_CHARS_MAX`: one character may be eighteen.
    """

    __slots__ = ("_cuts", "_index", "_plain", "_sentences", "_words", "is_cut", "low", "raw")

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self.is_cut = False
        self._index: list[int] | None = None
        self._plain = raw
        self._words: frozenset[str] | None = None
        self._cuts: list[int] | None = None
        self._sentences: dict[int, Sentence] = {}
        if raw.isascii():
            self.low = raw.lower()
            return
        plain = raw.translate(_SAME_LENGTH)
        low = plain.lower()
        if (
            len(low) == len(raw)
            and unicodedata.is_normalized("NFKC", plain)
            and _INVISIBLE.search(plain) is None
        ):
            self._plain, self.low = plain, low
        else:
            self._fold_slowly(plain)

    def _fold_slowly(self, plain: str) -> None:
        kept: list[str] = []
        index: list[int] = []
        for i, char in enumerate(plain):
            if len(index) > FOLDED_CHARS_MAX:
                self.is_cut = True
                break
            if char.isascii():
                kept.append(char)
                index.append(i)
            elif _INVISIBLE.match(char) is None:
                made = unicodedata.normalize("NFKC", char)
                kept.append(made)
                index.extend([i] * len(made))
        index.append(len(plain))
        self._plain = "".join(kept)
        self._index = index
        lower = {ord(c): c.lower() for c in set(self._plain) if len(c.lower()) == 1}
        self.low = self._plain.translate(lower)

    def words(self) -> frozenset[str]:
        """Returns the set of folded words."""
        if self._words is None:
            self._words = frozenset(words_of(self.low))
        return self._words

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Returns a span of `low` as a span of `raw`."""
        if self._index is None:
            return start, end
        return self._index[start], self._index[end]

    def find(self, needle: str, start: int = 0) -> int:
        """Returns where `needle` stands as whole words at or after `start`, or -1."""
        low = self.low
        size = len(needle)
        head, tail = needle[0].isalnum(), needle[-1].isalnum()
        for _ in range(OCCURRENCES_MAX * 4):
            at = low.find(needle, start)
            if at < 0:
                return -1
            end = at + size
            if not (head and at and low[at - 1].isalnum()) and not (
                tail and end < len(low) and low[end].isalnum()
            ):
                return at
            start = at + 1
        return -1

    def find_wrapped(self, needle: str) -> tuple[int, int]:
        """Returns where a text of several words stands whatever white space is between them.

        (-1, 0) where it does not; each of the first places of its first word is tried.
        """
        head, *rest = needle.split()
        low, at = self.low, self.low.find(head)
        for _ in range(OCCURRENCES_MAX):
            if at < 0:
                break
            end = at + len(head)
            for word in rest:
                while end < len(low) and low[end].isspace():
                    end += 1
                if not low.startswith(word, end):
                    break
                end += len(word)
            else:
                return at, end - at
            at = low.find(head, at + 1)
        return -1, 0

    def find_spaced(self, needle: str) -> tuple[int, int]:
        """Returns where a number stands that is written in groups, or (-1, 0)."""
        low = self.low
        head = needle[:2]
        at = low.find(head)
        for _ in range(OCCURRENCES_MAX * 4):
            if at < 0:
                break
            end = at
            for char in needle:
                while end < len(low) and low[end] in " -.":
                    end += 1
                if low[end : end + 1] != char:
                    break
                end += 1
            else:
                if not (low[end : end + 1].isalnum() or low[max(0, at - 1) : at].isalnum()):
                    return at, end - at
            at = low.find(head, at + 1)
        return -1, 0

    def cuts(self) -> list[int]:
        """Returns the starts of all sentences, the first 0, and the text's end."""
        if self._cuts is None:
            found = [0]
            found += [m.end() for m in _CUT.finditer(self._plain)]
            if found[-1] != len(self._plain):
                found.append(len(self._plain))
            self._cuts = found
        return self._cuts

    def sentence_of(self, position: int) -> int:
        """Returns the index of the sentence that a position of `low` lies in."""
        return max(0, min(bisect_right(self.cuts(), position) - 1, len(self.cuts()) - 2))

    def sentence(self, index: int) -> Sentence:
        """Returns a sentence without the white space around it."""
        known = self._sentences.get(index)
        if known is None:
            cuts = self.cuts()
            start = cuts[index]
            part = self.low[start : cuts[index + 1]] if index + 1 < len(cuts) else ""
            bare = part.strip()
            start += len(part) - len(part.lstrip())
            known = self._sentences[index] = Sentence(bare, start, start + len(bare))
        return known

    def is_paragraph_start(self, sentence: int) -> bool:
        """Returns whether an empty line stands before a sentence."""
        start = self.cuts()[sentence]
        start += len(self._plain[start : start + 40]) - len(
            self._plain[start : start + 40].lstrip()
        )
        gap = self._plain[max(0, start - 40) : start]
        return gap[len(gap.rstrip()) :].count("\n") > 1


def words_of(low: str) -> list[str]:
    """Returns the words of a folded text in order."""
    return low.translate(_PUNCTUATION).split()


def is_imperative(sentence: str) -> bool:
    """Returns whether a clause of a folded sentence opens with an imperative.

    Greetings, numbering and words like "then" and "please" may stand before it, and so may a
    `key:` or a mark in brackets.
    """
    for clause in _CLAUSE.split(sentence)[:CLAUSES_MAX]:
        first, *others = clause.split(", ")[:CLAUSES_MAX]
        if _opens_with_imperative(words_of(first), after_comma=False):
            return True
        if any(_opens_with_imperative(words_of(other), after_comma=True) for other in others):
            return True
    return False


def _opens_with_imperative(words: list[str], *, after_comma: bool) -> bool:
    for i, word in enumerate(words[:8]):
        if word in LEAD_INS or word.isdigit():
            if word in _CONNECTIVES:
                after_comma = False
            continue
        if len(words) < i + IMPERATIVE_WORDS_MIN:
            return False  # two words are a title as often as a request
        follower = words[i + 1]
        return is_imperative_start(word, follower, after_comma=after_comma)
    return False
