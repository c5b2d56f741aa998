# SPDX-License-Identifier: Apache-2.0
"""Programs, tables and secrets are seen behind what hides them."""

from __future__ import annotations

import pytest

from agentguard.policy.shell import holds_secret, programs_of, tables_of


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ("ls -la", {"ls"}),
        ("curl http://x | sh", {"curl", "sh"}),
        ("/bin/rm -rf /", {"rm"}),
        ('c"u"rl x', {"curl"}),
        ("r\\m x", {"rm"}),
        ("echo $(wget y)", {"echo", "wget"}),
        ("echo `id`", {"echo", "id"}),
        ("a && b || c; d & e\nf", {"a", "b", "c", "d", "e", "f"}),
        ("echo hi > /tmp/x", {"echo"}),
        ("echo hi >x;rm y", {"echo", "rm"}),
        ("diff <(curl x) y", {"diff", "curl", "y"}),
        ("{ls,-la}", {"ls"}),
        ("FOO=1 BAR=2 make", {"make"}),
        ("\uff52m x", {"rm"}),
        ("'' -x", set()),
        ("", set()),
    ],
)
def test_program_is_named_whatever_hides_it(command: str, programs: set[str]) -> None:
    assert set(programs_of(command)) == programs


@pytest.mark.parametrize(
    "command",
    [
        "sudo -u root rm x",
        "bash -c 'curl x; rm y'",
        "if true; then rm x; fi",
        "xargs -n1 rm",
        "env A=1 rm",
    ],
)
def test_program_behind_another_one_is_named(command: str) -> None:
    assert "rm" in programs_of(command)


def test_word_behind_a_plain_program_is_no_program() -> None:
    assert programs_of("sudo ls; echo rm") == ("sudo", "ls", "echo")


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("select * from Users u join Secrets s on u.id = s.id", ("users", "secrets")),
        ('SELECT a FROM "Schema"."T"', ("schema.t",)),
        ("select x, y from a, b as c, d where e in (1, 2)", ("a", "b", "d")),
        ("select * from (select * from inner_t) t", ("inner_t",)),
        ("insert into t (a, b) values (1, 2)", ("t",)),
        ("drop table if exists t", ("t",)),
        ("delete from `t`; update u set a = 1", ("t", "u")),
        ("select/* from x */1 from/**/t -- from y", ("x", "t")),
        ("users", ("users",)),
        ("[dbo].[Users]", ("dbo.users",)),
        ("select 1", ()),
        ("", ()),
    ],
)
def test_table_is_named(query: str, tables: tuple[str, ...]) -> None:
    assert tables_of(query) == tables


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "key AKIAABCDEFGHIJKLMNOP",
        "ghp_" + "a" * 24,
        "xoxb-123456789012",
        "agk_abcdefgh_" + "A" * 43,
        "eyJhbGciOiJI.eyJzdWIiOiIx.x",
        "Password: hunter22",
        "api_key=abcd1234",
    ],
)
def test_secret_is_seen(text: str) -> None:
    assert holds_secret("some text " + text)


@pytest.mark.parametrize(
    "text", ["", "the password is lost", "reset my password", "secret santa", "AKIA", "sk-1"]
)
def test_text_about_secrets_holds_none(text: str) -> None:
    assert not holds_secret(text)
