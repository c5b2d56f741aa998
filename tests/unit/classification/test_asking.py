# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from agentguard.classification.asking import kind_of
from agentguard.classification.operations import operation_of, split_name
from agentguard.classification.suggest import suggest
from agentguard.contracts.commands import SideEffect
from tests.unit.classification.builders import sources, tool, traced


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sendDirectMessage", ["send", "direct", "message"]),
        ("mail.send_v2", ["mail", "send", "v"]),
        ("HTTPGetURL", ["http", "get", "url"]),
        ("löschen_datei", ["l", "ö", "schen", "datei"]),
    ],
)
def test_names_come_apart_into_words(name: str, words: list[str]) -> None:
    assert split_name(name) == words


@pytest.mark.parametrize(
    ("task", "name", "effect"),
    [
        ("Let the team know that it is done", "post_message", "send"),
        ("Drop Carol a line about lunch", "send_message", "send"),
        ("Settle the invoice of Acme with 12345", "pay_invoice", "pay"),
        ("Get rid of draft.txt", "delete_file", "delete"),
        ("Reschedule my meeting", "update_event", "write"),
        ("Bring Ann into the channel", "invite_user", "write"),
        ("Put milk on my list", "add_list_item", "write"),
        ("Put together a summary document", "create_file", "write"),
    ],
)
def test_tasks_ask_for_operations_in_many_words(task: str, name: str, effect: str) -> None:
    registered = tool(name, effect, ("x",))
    assert traced(registered, {"x": task.split()[-1]}, *sources(task)).asked_by_task


@pytest.mark.parametrize(
    ("task", "name", "effect"),
    [
        ("Summarise the article", "send_money", "pay"),
        ("Show me order 55512", "cancel_order", "delete"),
        ("Find the budget sheet", "unlock_door", "write"),
        ("What is the weather?", "run_shell", "execute"),
    ],
)
def test_tasks_that_ask_for_something_else_do_not_ask(task: str, name: str, effect: str) -> None:
    registered = tool(name, effect, ("x",))
    assert not traced(registered, {"x": "55512"}, *sources(task)).asked_by_task


def test_where_another_text_asks_too_the_task_must_name_verb_and_object() -> None:
    registered = tool("create_event", "write", ("title",))
    call = {"title": "Party"}
    alone = traced(registered, call, *sources("Something about the Party"))
    rivalled = traced(
        registered, call, *sources("Something about the Party", ("a", "Create an event right now."))
    )
    assert alone.asked_by_task
    assert not rivalled.asked_by_task


def test_a_tool_without_a_telling_name_borrows_its_verb() -> None:
    assert "send" in operation_of(tool("zx9", "write", operation="send")).groups
    described = tool("zx9", "write", description="Deletes the given file from the drive.")
    assert "delete" in operation_of(described).groups
    assert operation_of(tool("zx9", "pay")).groups == ("pay",)


def test_the_kind_of_an_output_is_in_the_name_of_its_tool() -> None:
    assert "mail" in kind_of("read_emails")
    assert "website" in kind_of("get_webpage")
    assert kind_of("get") == frozenset()


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("get_user", SideEffect.READ),
        ("QueryRegistration", SideEffect.READ),
        ("deleteFile", SideEffect.DELETE),
        ("transfer_funds", SideEffect.PAY),
        ("exec.run_script", SideEffect.EXECUTE),
        ("send_mail", SideEffect.SEND),
        ("create_ticket", SideEffect.WRITE),
        ("zx9", SideEffect.UNKNOWN),
    ],
)
def test_labels_are_proposed_from_names(name: str, effect: SideEffect) -> None:
    assert suggest(name, "").side_effect is effect


def test_a_proposal_for_a_telling_description() -> None:
    assert suggest("zx9", "Deletes everything in the folder").side_effect is SideEffect.DELETE
