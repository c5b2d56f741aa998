# SPDX-License-Identifier: Apache-2.0
"""One value has one spelling, however it is disguised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.policy.normalise import (
    address_class,
    decode_percent,
    fold_text,
    hosts_in,
    hosts_of,
    normal_host,
    normal_path,
    recipients_of,
)

TEXTS = st.text(max_size=40)


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("/srv/../etc/passwd", "/etc/passwd"),
        ("/srv/%2e%2e/%252e%252e/etc/passwd", "/etc/passwd"),
        ("..\\..\\etc", "../../etc"),
        ("a/../../b", "../b"),
        ("//a//b/./c/", "/a/b/c"),
        ("/..", "/"),
        ("a/..", "."),
        ("file:///etc/passwd", "/etc/passwd"),
        ("FILE://host/etc/x", "/etc/x"),
        ("file://", "/"),
        ("\uff0f\uff45tc", "/etc"),
        ("/a/\u200b../b", "/b"),
        ("/\u2025/etc", "/etc"),
        ("C:\\Users\\x", "C:/Users/x"),
        ("Makefile", "Makefile"),
        ("  ", ""),
    ],
)
def test_path_has_one_spelling(written: str, spelled: str) -> None:
    assert normal_path(written) == spelled


@given(TEXTS)
def test_spelling_a_path_again_changes_nothing(text: str) -> None:
    once = normal_path(text)
    if "%" not in once:
        assert normal_path(once) == once


@given(st.lists(st.sampled_from(("..", ".", "a", "b", "", "%2e%2e", "..\\")), max_size=8))
def test_absolute_path_never_holds_a_step_up(parts: list[str]) -> None:
    assert ".." not in normal_path("/" + "/".join(parts)).split("/")


@pytest.mark.parametrize(
    ("written", "hosts"),
    [
        ("https://Good.example:443/x", ("good.example",)),
        ("evil.example.", ("evil.example",)),
        ("//evil.example/x", ("evil.example",)),
        ("http:evil.example", ("evil.example",)),
        ("http:\\\\evil.example", ("evil.example",)),
        ("http://good.example@evil.example/", ("evil.example",)),
        ("http://good.example\\@evil.example/", ("evil.example", "good.example")),
        ("http://evil.example%2f@good.example", ("evil.example", "good.example")),
        ("http://a@b.example@c.example", ("b.example", "c.example")),
        ("http://evil.example#@good.example", ("evil.example",)),
        ("http://b\u00fccher.example", ("xn--bcher-kva.example",)),
        ("\uff45vil\u3002example", ("evil.example",)),
        ("http://2130706433/", ("127.0.0.1",)),
        ("http://0x7f.1/", ("127.0.0.1",)),
        ("http://0177.0.0.1:80", ("127.0.0.1",)),
        ("http://0x/", ("0.0.0.0",)),
        ("http://[::1]:80/", ("::1",)),
        ("http://[::ffff:169.254.169.254]/", ("169.254.169.254",)),
        ("::1", ("::1",)),
        ("http://[fe80::zz]/", ("fe80::zz",)),
        ("1.2.3.4.5", ("1.2.3.4.5",)),
        ("256.1.1.1", ("256.1.1.1",)),
        ("1.1.1.256", ("1.1.1.256",)),
        ("08.1.1.1", ("08.1.1.1",)),
        ("1.2.x", ("1.2.x",)),
        ("1..2", ("1..2",)),
        ("1" * 20, ("1" * 20,)),
        ("\u00e9" * 70, ("\u00e9" * 70,)),
        ("", ()),
        ("http://", ()),
    ],
)
def test_host_has_one_spelling_in_every_reading(written: str, hosts: tuple[str, ...]) -> None:
    assert hosts_of(written) == hosts


@given(TEXTS)
def test_spelling_a_host_again_changes_nothing(text: str) -> None:
    once = normal_host(text)
    if "%" not in once:
        assert normal_host(once) == once


def test_hosts_are_found_inside_a_text() -> None:
    text = "see http://a.example/x, (HTTPS://B.example) <ftp://c.example> no://"
    assert hosts_in(text) == ("a.example", "b.example", "c.example")


@pytest.mark.parametrize(
    ("hosts", "worst"),
    [
        ((), "none"),
        (("a.example",), "name"),
        (("8.8.8.8",), "public"),
        (("8.8.8.8", "a.example"), "name"),
        (("10.0.0.1", "a.example"), "private"),
        (("127.0.0.1", "10.0.0.1"), "loopback"),
        (("0.0.0.0",), "loopback"),
        (("localhost",), "loopback"),
        (("x.localhost",), "loopback"),
        (("169.254.1.1",), "link_local"),
        (("fe80::1",), "link_local"),
        (("169.254.169.254", "127.0.0.1"), "metadata"),
        (("metadata.google.internal",), "metadata"),
        (("1.2.3.4.5",), "name"),
    ],
)
def test_worst_destination_names_the_class(hosts: tuple[str, ...], worst: str) -> None:
    assert address_class(hosts) == worst


@pytest.mark.parametrize(
    ("written", "recipients"),
    [
        ("Bob <bob@X.example>", (("bob@x.example", "x.example"),)),
        (
            "a@x.example, b@y.example; c@z.example\nd@z.example",
            (
                ("a@x.example", "x.example"),
                ("b@y.example", "y.example"),
                ("c@z.example", "z.example"),
                ("d@z.example", "z.example"),
            ),
        ),
        ("a@x.example b@y.example", (("a@x.example", "x.example"), ("b@y.example", "y.example"))),
        ("mailto:a@x.example?cc=b", (("a@x.example", "x.example"),)),
        (
            "good@x.example <evil@y.example>",
            (("evil@y.example", "y.example"), ("good@x.example", "x.example")),
        ),
        ("a@x.example@y.example", (("a@x.example@y.example", "y.example"),)),
        ("a%40x.example", (("a@x.example", "x.example"),)),
        ("  Fred   SMITH ", (("fred smith", ""),)),
        ("GB33 BUKB 2020", (("gb33 bukb 2020", ""),)),
        ("", ()),
    ],
)
def test_recipient_has_one_spelling(written: str, recipients: tuple[tuple[str, str], ...]) -> None:
    assert recipients_of(written) == recipients


def test_text_is_folded_to_what_a_reader_sees() -> None:
    assert fold_text("\u202e\uff41\u200b b\x00\n") == "a b"
    assert fold_text(" plain ") == "plain"


def test_escapes_of_escapes_end() -> None:
    assert decode_percent("%25252525252541") == "%252541"
    assert decode_percent("%zz") == "%zz"
    assert decode_percent("100%") == "100%"
