# SPDX-License-Identifier: Apache-2.0
"""What a newcomer is shown on recorded traffic: a planted instruction stopped, and the rest counted."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentguard.adapters.system import SystemEntropy
from agentguard.contracts.codes import Code, flatten
from agentguard.contracts.commands import VOUCHING_CAPABILITY
from agentguard.contracts.facts import Json
from agentguard.contracts.ports import Entropy
from agentguard.contracts.strict_json import encode_canonical
from agentguard.control.fold import ControlFold
from agentguard.local.control_writer import ControlWriter, Order
from agentguard.local.founding import NamedSigner
from agentguard.local.platform_files import AgentCredential, change_credentials
from agentguard.local.sample_traffic import SampleCase, Samples, load, replay, request_body, show
from agentguard.local.steps import Steps
from agentguard.local.up import EmbeddedPlatform, StartError
from agentguard.registry.agents import (
    CREDENTIAL_ID_BYTES,
    CREDENTIAL_SECRET_BYTES,
    AgentLabels,
    make_agent,
    make_credential,
)

TIMEOUT_S = 35.0
REGISTERED_WAIT_S = 5.0
UNDECIDED = frozenset(
    {"deadline", "not_ready", "unreachable", "shed", "lane_failure", "unknown_caller"}
)
KINDS = {
    "benign": "the user's own calls",
    "under_attack": "the user's own calls after an attack was read",
    "injection": "calls that only a planted instruction asked for",
    "twin": "the same calls, asked for by the user",
}


@dataclass(frozen=True, slots=True)
class Sender:
    """Asks the gateway as one agent."""

    gateway: str
    token: str

    def __call__(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """Returns the gateway's answer. Raises `StartError` where it is none."""
        request = urllib.request.Request(  # noqa: S310  our own gateway
            f"{self.gateway}/v1/decisions",
            data=encode_canonical(dict(body)),
            headers={
                "content-type": "application/json",
                "authorization": f"Bearer {self.token}",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
                answer = json.loads(reply.read())
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read())
        except (OSError, ValueError) as error:
            raise StartError("the gateway gave no answer to sample traffic") from error
        return dict(answer)


class NewcomersShow:
    """Registers what the sample traffic needs and sends it through the real gateway."""

    def __init__(self, up: EmbeddedPlatform, steps: Steps) -> None:
        self._up = up
        self._steps = steps
        self._samples = load(up.platform.tenant)
        self._tokens: dict[str, str] = {}
        self.first_request_id = ""
        """The id of the first call that was shown."""

    def register(self, writer: ControlWriter, signers: tuple[NamedSigner, ...]) -> None:
        """Registers the sample's tools and agents, where the log does not hold them.

        One agent for each suite and kind: an agent's own past counts against it, and nobody's
        agent reads forty attacks a minute.
        """
        with change_credentials(self._up.data) as credentials:
            orders = [*_missing_tools(self._samples, writer.fold)]
            agents = sorted({agent_of(c) for c in self._samples.cases})
            tenant = self._up.platform.tenant
            for agent_id in agents:
                known = credentials.agents.get(agent_id)
                if known is None or writer.fold.agent(tenant, agent_id) is None:
                    known = _new_agent(agent_id, tenant, orders, SystemEntropy())
                    credentials.agents[agent_id] = known
                self._tokens[agent_id] = known.token
            rejected = [j for j in writer.submit(orders, signers) if not j.accepted]
        if rejected:
            raise StartError(f"a sample registration was rejected: {rejected[0].code}")
        self._steps.say("registry", f"{len(self._samples.tools)} tools, {len(agents)} agents")

    def first_calls(self) -> None:
        """Shows an injected call stopped and its twin allowed."""
        injected, twin = show(self._samples)
        answer = self._ask(injected)
        if answer.get("code") in UNDECIDED:
            reason = flatten(str(answer.get("reason", "")))
            raise StartError(f"the first call was not decided: {reason}")
        self.first_request_id = str(answer.get("requestId", ""))
        self._steps.say("first call", f"decided {self._steps.elapsed_s():.1f} s after the start")
        self._steps.say("", "")
        self._print(injected, answer)
        self._steps.say("", "")
        self._print(twin, self._ask(twin))
        self._steps.say("", "")

    def everything(self, progress: Callable[[int, int], None]) -> None:
        """Sends every case and prints what was allowed and what was stopped, misses included."""
        counts: dict[tuple[str, str], Counter[str]] = {}
        cases = self._samples.cases
        for number, case in enumerate(cases):
            outcome = "passed"
            for answer in replay(case, self._sender(case), agent_id=agent_of(case)):
                if answer.get("action") not in ("allow", "transform"):
                    outcome = str(answer.get("action"))
            counts.setdefault((case.suite, case.kind), Counter())[outcome] += 1
            progress(number + 1, len(cases))
        self._steps.say(
            "traffic", f"{len(cases)} recorded cases: passed / all (of these waiting for a person)"
        )
        suites = sorted({suite for suite, _ in counts})
        self._steps.say("", f"{'':<50}" + "".join(f"{suite:>14}" for suite in suites))
        for kind, meaning in KINDS.items():
            cells = (_cell(counts.get((suite, kind), Counter())) for suite in suites)
            self._steps.say("", f"{meaning:<50}" + "".join(f"{cell:>14}" for cell in cells))

    def _sender(self, case: SampleCase) -> Sender:
        return Sender(self._up.platform.gateway, self._tokens[agent_of(case)])

    def _ask(self, case: SampleCase) -> dict[str, Json]:
        index = case.judged[-1]
        body = request_body(case, index, agent_id=agent_of(case), session_id=case.case)
        send = self._sender(case)
        answer = send(body)
        # an agent registered a moment ago: the gateway reads the same log, a few ms later
        until_s = self._steps.elapsed_s() + REGISTERED_WAIT_S
        while answer.get("code") == Code.UNKNOWN_CALLER and self._steps.elapsed_s() < until_s:
            answer = send(body)
        return answer

    def _print(self, case: SampleCase, answer: Mapping[str, Json]) -> None:
        call = case.calls[case.judged[-1]]
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        self._steps.say("  user asked", flatten(case.task))
        self._steps.say("  agent calls", flatten(f"{call.tool} {arguments}"))
        self._steps.say(f"  {answer.get('action')}", flatten_all(str(answer.get("reason", ""))))


def flatten_all(text: str) -> str:
    """Returns a reason of any length as one printable line."""
    return "".join(flatten(text[i : i + 200]) for i in range(0, len(text), 200))


def agent_of(case: SampleCase) -> str:
    """Returns the id of the agent that a case's calls are sent as."""
    return f"{case.suite}-{case.kind.replace('_', '-')}"


def _cell(counts: Counter[str]) -> str:
    waiting = f" ({counts['escalate']})" if counts["escalate"] else ""
    return f"{counts['passed']}/{sum(counts.values())}{waiting}"


def _missing_tools(samples: Samples, fold: ControlFold) -> list[Order]:
    return [Order(body=t) for t in samples.tools if fold.tool(t.tenant, t.tool) is None]


def _new_agent(
    agent_id: str, tenant: str, orders: list[Order], entropy: Entropy
) -> AgentCredential:
    credential = make_credential(entropy.token(CREDENTIAL_ID_BYTES + CREDENTIAL_SECRET_BYTES))
    # the samples are recorded tool traffic: task and outputs are as the recorder saw them
    labels = AgentLabels(capabilities=(VOUCHING_CAPABILITY,))
    agent = make_agent(agent_id, tenant=tenant, credential=credential, labels=labels)
    orders.append(Order(body=agent))
    return AgentCredential(token=credential.token)
