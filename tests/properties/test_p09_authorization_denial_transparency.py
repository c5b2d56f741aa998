"""Feature: ai-agent-security-platform, Property 9: Authorization Denial Transparency.

Each denial has a code, the rule where a rule made it, a reason that holds no secret and no text of
the agent's that could pass for more than a name, and a remedy; and the remedy, applied where it
can be applied, makes the same wish pass.
"""

from __future__ import annotations

import json
import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts.codes import TEMPLATES, Code, flatten, reason_text
from agentguard.contracts.commands import CommandBody, Registration
from agentguard.contracts.names import name_fault
from agentguard.contracts.records import AgentRequest, DecisionCore, SectionName, Verdict
from agentguard.contracts.topics import agent_key
from agentguard.control.scopes import scope_of
from agentguard.decision.finding import Finding
from agentguard.registry.agents import AgentLabels, make_agent, make_credential
from agentguard.registry.tools import ToolLabels, make_tool
from tests import worlds as w

SECRET = "agk_abcdefgh_" + "S" * 43
MAIL = {"to": "bob@x.com", "body": "hi"}
WITH_SECRET = {"to": "bob@x.com", "body": f"my key is {SECRET}"}
ASKED = "Send an email to bob@x.com with the text I gave you"
HOSTILE = st.text(min_size=1, max_size=24) | st.sampled_from(
    ("x; rm -rf ~", "$(id)", "@sentence", "--help", "@x", "<b>", "' or 1", "\u202e")
)


class Wish:
    """What an agent wants, and the world it wants it in; remedies change one or the other."""

    def __init__(self, request: AgentRequest, registrations: tuple[CommandBody, ...] = ()) -> None:
        self.request = request
        self.registrations = registrations

    def decide(self) -> DecisionCore:
        control = w.shared_control() if not self.registrations else w.control()
        for number, body in enumerate(self.registrations):
            version = control.scope_version(scope_of(body))
            command = w.command(body, nonce=600 + number, scope_version=version)
            judgement = control.apply(control.folded + 1, command)
            assert judgement.accepted, judgement
        bench = w.Bench(control=control)
        return bench.decide(self.request, key=agent_key(self.request.tenant, self.request.agent_id))


def register_tool(wish: Wish) -> Wish:
    read = replace(w.tools()[0], tool=wish.request.tool)
    return Wish(wish.request, (*wish.registrations, read))


def register_agent(wish: Wish) -> Wish:
    agent = make_agent(
        wish.request.agent_id,
        tenant=w.TENANT,
        credential=make_credential(b"y" * 38),
        labels=AgentLabels(),
    )
    return Wish(wish.request, (*wish.registrations, agent))


def ask_again(wish: Wish) -> Wish:
    return Wish(replace(wish.request, deadline_ms=w.NOW + 1_000), wish.registrations)


def really(wish: Wish) -> Wish:
    return Wish(replace(wish.request, dry_run=False), wish.registrations)


def put_it_into_the_task(wish: Wish) -> Wish:
    sections = tuple(
        w.section(SectionName.TASK, ASKED) if s.name is SectionName.TASK else s
        for s in wish.request.sections
    )
    return Wish(replace(wish.request, sections=sections), wish.registrations)


def fit_the_schema(wish: Wish) -> Wish:
    good = w.section(SectionName.PARAMETERS, json.dumps({"name": "plan"}))
    return Wish(replace(wish.request, sections=(wish.request.sections[0], good)))


REMEDIES: dict[str, Callable[[Wish], Wish]] = {
    Code.UNKNOWN_TOOL: register_tool,
    Code.TOOL_NOT_ENABLED: register_tool,
    Code.UNKNOWN_AGENT: register_agent,
    Code.AGENT_NOT_ENABLED: register_agent,
    Code.AGENT_EXPIRED: register_agent,
    Code.DEADLINE: ask_again,
    Code.DRY_RUN: really,
    Code.APPROVAL_REQUIRED: put_it_into_the_task,
    Code.NOT_ASKED: put_it_into_the_task,
    Code.INVALID_PARAMETERS: fit_the_schema,
    Code.MALFORMED: fit_the_schema,
}


def is_name(text: str) -> bool:
    return not name_fault(text)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    kind = draw(st.integers(0, 8))
    match kind:
        case 0:
            return Wish(w.request(1, tool=draw(HOSTILE.filter(is_name))))
        case 1:
            return Wish(w.request(1, agent_id=draw(HOSTILE.filter(is_name))))
        case 2:
            return Wish(w.request(1, deadline_ms=w.NOW - draw(st.integers(0, 9_000))))
        case 3:
            return Wish(w.request(1, dry_run=True))
        case 4:
            return Wish(w.request(1, tool="mail.send", parameters=MAIL, task="Read my note"))
        case 8:
            return Wish(w.request(1, tool="mail.send", parameters=WITH_SECRET, task=SECRET))
        case 5:
            return Wish(w.request(1, parameters={draw(HOSTILE): draw(HOSTILE)}))
        case 6:
            tool = draw(HOSTILE.filter(is_name))
            pending = make_tool(
                tool, tenant=w.TENANT, labels=ToolLabels(status=Registration.PENDING)
            )
            return Wish(w.request(1, tool=tool), (pending,))
        case _:
            name = draw(HOSTILE.filter(is_name))
            agent = make_agent(
                name,
                tenant=w.TENANT,
                credential=make_credential(b"y" * 38),
                labels=AgentLabels(expires_at_ms=w.NOW - 1),
            )
            return Wish(w.request(1, agent_id=name), (agent,))


@given(wish=wishes())
def test_denial_is_explained_and_its_remedy_makes_the_wish_pass(wish: Wish) -> None:
    core = wish.decide()
    if core.verdict is Verdict.ALLOW:
        return
    code = Code(core.codes[0])
    assert core.reason.template == code
    assert TEMPLATES[code].remedy
    assert TEMPLATES[code].reason.count("{}") == len(core.reason.arguments)
    said = reason_text(code, core.reason.arguments, {})
    for text in (said, core.remedy or ""):
        assert text
        assert SECRET not in text
        assert all(unicodedata.category(c)[0] != "C" for c in text)
    if core.verdict is Verdict.ESCALATE:
        assert core.rules
    if (core.remedy or "").startswith("agentguard "):
        words = shlex.split(core.remedy or "")
        assert words[:2] in (["agentguard", "tools"], ["agentguard", "agents"])
        name = wish.request.tool if words[1] == "tools" else wish.request.agent_id
        # one word after the verb, whatever the name holds; a name that can be registered, exactly
        assert len(words[3:]) == 1 + (words[3] == "--")
        if not name_fault(name):
            assert words[3:] == ["--"] * name.startswith("-") + [flatten(name)]
    if code is not Code.CRITICAL_RISK:  # what it asks for is a person's, not the agent's
        assert REMEDIES[code](wish).decide().verdict is Verdict.ALLOW


def _unquoted(self: Finding) -> str | None:
    return TEMPLATES[Code(self.codes[0])].remedy.replace("{}", (*self.arguments, "")[0]) or None


MUTANTS = (
    ("agentguard.decision.finding.Finding.remedy", property(_unquoted)),
    ("agentguard.contracts.codes.flatten", lambda text: text),
    ("agentguard.decision.finding.plain", lambda text: ""),
)
