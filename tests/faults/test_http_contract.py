"""The gateway's HTTP contract on a live platform: whatever comes in, the answer is right or deny."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from agentguard.bounds import (
    HISTORY_ITEMS_MAX,
    JSON_DEPTH_MAX,
    NAME_CHARS_MAX,
    REQUEST_BYTES_MAX,
)
from agentguard.contracts.codes import Code
from agentguard.contracts.commands import Kill, TargetKind
from agentguard.contracts.records import AgentRequest
from tests.faults.evidence import decoded, read_topics
from tests.faults.world import WAIT_S, World, ask, until

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(120)]

AGENT = "alone"
SLOW_SOCKETS = 200
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
# codes that are the door's own, beside those of decisions
DOOR_CODES = {"unknown_request", "unknown_path", "internal", "pending"}
Answer = tuple[int, dict[str, Any]]


def right(**changes: Any) -> dict[str, Any]:
    body = {
        "agentId": AGENT,
        "toolName": "notes.read",
        "parameters": {"name": "plan"},
        "context": {"userTask": "Read the note plan", "sessionId": "s-1"},
    }
    return {**body, **changes}


def in_context(**changes: Any) -> dict[str, Any]:
    return right(context={**right()["context"], **changes})


def without(name: str, *, context: bool = False) -> dict[str, Any]:
    body = right()
    del (body["context"] if context else body)[name]
    return body


def raw(**texts: str) -> bytes:
    """The right body with JSON text put in for named members."""
    body = json.dumps(right(**dict.fromkeys(texts, "@@")))
    for text in texts.values():
        body = body.replace('"@@"', text, 1)
    return body.encode()


MALFORMED: dict[str, bytes | dict[str, Any]] = {
    "nothing": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "empty object": {},
    "cut off": json.dumps(right()).encode()[:-1],
    "more after it": json.dumps(right()).encode() + b"{}",
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(right()).encode(),
    "utf-16": json.dumps(right()).encode("utf-16"),
    "not utf-8": raw(parameters='{"name":"@"}').replace(b"@", b"\xff\xfe"),
    "overlong utf-8": raw(parameters='{"name":"@"}').replace(b"@", b"\xc0\xaf"),
    "encoded surrogate": raw(parameters='{"name":"@"}').replace(b"@", b"\xed\xa0\x80"),
    "lone surrogate": raw(parameters='{"name":"\\ud800"}'),
    "lone surrogate as a key": raw(parameters='{"\\udfff":"x"}'),
    "nan": raw(parameters='{"name":NaN}'),
    "infinity": raw(parameters='{"name":-Infinity}'),
    "number out of range": raw(parameters='{"name":1e999}'),
    "number too long": raw(parameters='{"name":' + "9" * 65 + "}"),
    "comment": raw(parameters='{"name":1/*x*/}'),
    "trailing comma": raw(parameters='{"name":1,}'),
    "control character": raw(parameters='{"name":"a\nb"}'),
    "duplicate key": raw(agentId='"alone","agentId":"alone"'),
    "duplicate key in parameters": raw(parameters='{"name":"a","name":"b"}'),
    "duplicate key by escape": raw(parameters='{"name":"a","n\\u0061me":"b"}'),
    "too deep": raw(parameters='{"a":' + "[" * JSON_DEPTH_MAX + "]" * JSON_DEPTH_MAX + "}"),
    "far too deep": raw(parameters='{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "never closed": raw(parameters="[" * 200_000),
    "unknown member": right(allow=True),
    "snake case": right(dry_run=True),
    "unknown member in context": in_context(trust="trusted"),
    "unknown member in history": in_context(history=[{"tool": "x", "output": "y", "is": 1}]),
    **{f"no {name}": without(name) for name in right()},
    **{f"no {name}": without(name, context=True) for name in right()["context"]},
    "agent is a number": right(agentId=7),
    "agent is empty": right(agentId=""),
    "tool is null": right(toolName=None),
    "tool is too long": right(toolName="t" * (NAME_CHARS_MAX + 1)),
    "parameters are a list": right(parameters=[]),
    "parameters are text": right(parameters="{}"),
    "parameters are null": right(parameters=None),
    "context is text": right(context="x"),
    "task is a number": in_context(userTask=1),
    "session is empty": in_context(sessionId=""),
    "history is an object": in_context(history={}),
    "history is too long": in_context(
        history=[{"tool": "x", "output": "y"}] * (HISTORY_ITEMS_MAX + 1)
    ),
    "history without output": in_context(history=[{"tool": "x"}]),
    "history with a trust of its own": in_context(
        history=[{"tool": "x", "output": "y", "trust": "sure"}]
    ),
    "outcome id is no id": in_context(history=[{"tool": "x", "outcomeId": "zz"}]),
    "deadline is zero": right(deadlineMs=0),
    "deadline is negative": right(deadlineMs=-1),
    "deadline is a fraction": right(deadlineMs=0.5),
    "deadline is text": right(deadlineMs="100"),
    "deadline is too far": right(deadlineMs=10**9),
    "dry run is text": right(dryRun="no"),
    "dry run is a number": right(dryRun=0),
    "idempotency key is empty": right(idempotencyKey=""),
}


class Client:
    """Sends what it is told, byte for byte."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.host, _, port = world.live.addresses["gateway"].removeprefix("http://").partition(":")
        self.port = int(port)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        agent: str | None = AGENT,
        headers: Mapping[str, str] | None = None,
        kind: str | None = "application/json",
    ) -> Answer:
        sent = dict(headers or {})
        if agent is not None:
            sent.setdefault("authorization", f"Bearer {self._world.tokens[agent]}")
        if kind is not None:
            sent["content-type"] = kind
        content = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        connection = http.client.HTTPConnection(self.host, self.port, timeout=WAIT_S)
        try:
            connection.request(method, path, content, sent)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def post(self, body: Any, **how: Any) -> Answer:
        return self.send("POST", "/v1/decisions", body, **how)

    def bytes(self, sent: bytes) -> bytes:
        """What comes back on a connection until it is closed."""
        with socket.create_connection((self.host, self.port), WAIT_S) as line:
            line.sendall(sent)
            found = b""
            while part := line.recv(65_536):
                found += part
            return found


@pytest.fixture(scope="module")
def client(world: World) -> Client:
    until(lambda: ask(world, AGENT)["action"] == "allow", what="the platform decides")
    return Client(world)


@pytest.fixture(scope="module")
def slow(client: Client) -> Iterator[list[socket.socket]]:
    """Connections that begin and do not go on: in the head, and in the body."""
    lines = []
    for number in range(SLOW_SOCKETS):
        line = socket.create_connection((client.host, client.port), WAIT_S)
        head = b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\n"
        if number % 2:
            token = client._world.tokens[AGENT].encode()
            head += b"authorization: Bearer %s\r\ncontent-type: application/json\r\n" % token
            head += b"content-length: 500\r\n\r\n{"
        line.sendall(head)
        lines.append(line)
    yield lines
    for line in lines:
        line.close()


def assert_denied(answer: Answer, status: int, *codes: str) -> None:
    """An error body that says deny in every way a reader could look for it."""
    got, body = answer
    assert (got, body["action"]) == (status, "deny"), body
    assert body["code"] in codes, body
    assert body["code"] in set(Code) | DOOR_CODES
    assert body["reason"]
    assert "grant" not in body
    if status != 200:
        assert body["error"]["code"] == body["code"]
        assert body["error"]["message"] == body["reason"]
        assert isinstance(body["error"]["retryable"], bool)
        assert body["requestId"]
        assert body["timestamp"].endswith("Z")


def requests_of(world: World, agent: str) -> int:
    records = [r for part in read_topics(world, "ag.requests")["ag.requests"] for r in part]
    bodies = [decoded(record.value) for record in records]
    return sum(1 for b in bodies if isinstance(b, AgentRequest) and b.agent_id == agent)


# -- slow clients: opened first, looked at again last ---------------------------------------------


def test_200_slow_clients_keep_nobody_else_from_a_decision(
    client: Client, slow: list[socket.socket]
) -> None:
    for _ in range(20):
        status, body = client.post(right())
        assert (status, body["code"]) == (200, "allowed")


# -- bodies ---------------------------------------------------------------------------------------


def test_every_malformed_body_is_denied_with_400_and_none_becomes_a_request(
    world: World, client: Client
) -> None:
    before = requests_of(world, AGENT)
    for name, body in MALFORMED.items():
        answer = client.post(body)
        assert answer[0] == 400, (name, answer)
        assert_denied(answer, 400, "malformed")
    assert requests_of(world, AGENT) == before


def test_what_only_looks_odd_is_decided(client: Client) -> None:
    deep = JSON_DEPTH_MAX - 2
    for body in (
        raw(parameters='{"name":"\\ud83d\\ude00"}'),
        raw(parameters='{"name":"' + "[{" * 500 + '"}'),
        in_context(tenant=None, onBehalfOf=None, traceparent="not one"),
        right(idempotencyKey=None, deadlineMs=None, approvalId=None, dryRun=False),
    ):
        status, answer = client.post(body)
        assert (status, answer["code"]) == (200, "allowed"), body
    odd = raw(parameters='{"name":"x","a":' + "[" * deep + "]" * deep + "}")
    assert client.post(odd)[0] == 200


def test_a_body_above_the_bound_is_denied_with_413_however_it_is_sent(client: Client) -> None:
    base = len(json.dumps(right(parameters={"name": ""})))
    most = right(parameters={"name": "x" * (REQUEST_BYTES_MAX - base)})
    content = json.dumps(most).encode()
    assert len(content) == REQUEST_BYTES_MAX
    assert client.post(content)[0] == 200
    assert_denied(client.post(content + b" "), 413, "too_large")
    parts = iter([content, b" "])
    assert_denied(client.post(parts), 413, "too_large")  # in chunks: no length is announced
    announced = (
        "POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {client._world.tokens[AGENT]}\r\ncontent-length: {10**15}\r\n\r\n"
    )
    found = client.bytes(announced.encode())
    assert found.startswith(b"HTTP/1.1 413 ")
    assert b'"action":"deny"' in found


@pytest.mark.parametrize(
    "kind",
    [
        None, "", "text/plain", "application/jsonp", "application/x-www-form-urlencoded",
        "application/json; charset=latin-1", "multipart/form-data; boundary=x",
    ],
)  # fmt: skip
def test_another_content_type_is_denied_with_400(client: Client, kind: str | None) -> None:
    assert_denied(client.post(json.dumps(right()).encode(), kind=kind), 400, "malformed")


def test_an_encoded_body_is_denied_with_400(client: Client) -> None:
    answer = client.post(right(), headers={"content-encoding": "gzip"})
    assert_denied(answer, 400, "malformed")


def test_bytes_that_are_no_http_are_answered_with_deny_and_a_closed_connection(
    client: Client,
) -> None:
    long = b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000
    both = (
        b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"HELO x\r\n\r\n", long, both):
        found = client.bytes(sent)
        assert found.startswith(b"HTTP/1.1 400 "), found[:80]
        assert b'"action":"deny"' in found


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/decisions"), ("PUT", "/v1/decisions"), ("POST", "/v1/decisions/"),
        ("POST", "/v1/Decisions"), ("GET", "/"), ("POST", "/v1/outcomes/x"),
    ],
)  # fmt: skip
def test_nothing_at_a_path_is_deny(client: Client, method: str, path: str) -> None:
    status, body = client.send(method, path, right())
    assert status in (400, 404, 405)
    assert body["action"] == "deny"


# -- callers --------------------------------------------------------------------------------------


def test_who_proves_nothing_gets_401_and_leaves_no_record(world: World, client: Client) -> None:
    token = world.tokens[AGENT]
    before = requests_of(world, AGENT), requests_of(world, "other")
    for given in (
        None,
        "",
        token,
        f"Basic {token}",
        f"Bearer {token}x",
        f"Bearer {token[:-1]}",
        f"Bearer {token} {token}",
        f"Bearer {'agk_aaaaaaaa_' + 'A' * 43}",
        "Bearer " + token.swapcase(),
        "Bearer " + "a" * 8_000,
    ):
        headers = {} if given is None else {"authorization": given}
        answer = client.post(right(), agent=None, headers=headers)
        assert_denied(answer, 401, "unknown_caller")
        assert token not in json.dumps(answer[1])
    answer = client.post(right(agentId="other"))
    assert_denied(answer, 401, "unknown_caller")
    twice = (
        b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-type: application/json\r\ncontent-length: 2\r\n"
        + 2
        * b"authorization: Bearer %s\r\n"
    ) % (token.encode(), token.encode())
    assert client.bytes(twice + b"\r\n{}").startswith(b"HTTP/1.1 401 ")
    assert (requests_of(world, AGENT), requests_of(world, "other")) == before


@pytest.mark.parametrize(
    ("agent", "code"),
    [
        ("blocked", "agent_not_enabled"),
        ("pending", "agent_not_enabled"),
        ("expired", "agent_expired"),
    ],
)
def test_a_proved_agent_that_may_not_act_gets_a_decided_deny(
    client: Client, agent: str, code: str
) -> None:
    status, body = client.post(right(agentId=agent), agent=agent)
    assert_denied((status, body), 200, code)
    assert body["auditMetadata"]["basis"] == "decision"


def test_another_tenant_than_the_credentials_is_denied_with_400(
    world: World, client: Client
) -> None:
    assert client.post(in_context(tenant=world.platform.tenant))[1]["code"] == "allowed"
    assert_denied(client.post(in_context(tenant="acme")), 400, "tenant_mismatch")
    assert_denied(client.post(in_context(tenant="")), 400, "tenant_mismatch")


# -- tools, kills, dry runs -----------------------------------------------------------------------


def test_a_tool_that_may_not_run_is_denied_and_says_what_would_register_it(client: Client) -> None:
    status, body = client.post(right(toolName="no.such"))
    assert_denied((status, body), 200, "unknown_tool")
    assert body["remedy"] == "agentguard tools register no.such"
    for tool in ("blocked.read", "pending.read"):
        assert_denied(client.post(right(toolName=tool)), 200, "tool_not_enabled")
    wrong = client.post(right(parameters={"name": 7}))
    assert_denied(wrong, 200, "invalid_parameters")


def test_a_kill_reaches_the_next_request(world: World, client: Client) -> None:
    tenant = world.platform.tenant
    victim = {"agentId": "victim"}
    assert client.post(right(**victim), agent="victim")[1]["code"] == "allowed"
    assert client.post(right(toolName="killed.read"))[1]["code"] == "allowed"
    world.submit(
        [
            Kill(kind=TargetKind.AGENT, tenant=tenant, target="victim", reason="test"),
            Kill(kind=TargetKind.TOOL, tenant=tenant, target="killed.read", reason="test"),
        ]
    )
    until(lambda: client.post(right(**victim), agent="victim")[1]["code"] == "killed")
    until(lambda: client.post(right(toolName="killed.read"))[1]["code"] == "killed")
    assert_denied(client.post(right(**victim), agent="victim"), 200, "killed")
    assert client.post(right())[1]["code"] == "allowed"


def test_a_dry_run_is_never_allow_and_grants_nothing(client: Client) -> None:
    status, body = client.post(right(dryRun=True))
    assert_denied((status, body), 200, "dry_run")
    assert "allow" in body["reason"]
    assert_denied(
        client.post(right(dryRun=True, toolName="no.such")), 200, "unknown_tool", "dry_run"
    )


# -- repeats, deadlines ---------------------------------------------------------------------------


def test_a_repeat_joins_the_first_and_another_body_is_409(client: Client) -> None:
    numbers = iter(range(100))

    def is_joined() -> bool:
        """Within the first one's deadline; on a busy machine a pair may take longer."""
        key = f"repeat-{next(numbers)}"
        first = client.post(right(idempotencyKey=key))
        again = client.post(right(idempotencyKey=key))
        other = client.post(right(idempotencyKey=key, parameters={"name": "another"}))
        assert first[1]["code"] == "allowed"
        if (again[1]["requestId"], other[0]) != (first[1]["requestId"], 409):
            return False
        assert_denied(other, 409, "idempotency_conflict")
        assert again[1]["auditMetadata"]["offset"] == first[1]["auditMetadata"]["offset"]
        return True

    until(is_joined, what="a repeat joins the first")


def test_another_agents_key_of_the_same_name_is_another_key(client: Client) -> None:
    first = client.post(right(idempotencyKey="shared"))
    other = client.post(right(agentId="other", idempotencyKey="shared"), agent="other")
    assert first[1]["requestId"] != other[1]["requestId"]
    assert other[1]["code"] == "allowed"


def test_a_deadline_too_near_is_deny_and_never_allow(client: Client) -> None:
    answers = [client.post(right(deadlineMs=1)) for _ in range(10)]
    late = [answer for answer in answers if answer[0] != 200]
    for status, body in late:
        assert_denied(
            (status, body), 504 if body["code"] == "deadline" else 503, "deadline", "unreachable"
        )
    assert late


# -- outcomes and looking up ----------------------------------------------------------------------


def test_outcomes_are_taken_for_own_calls_only_and_errors_say_deny(client: Client) -> None:
    asked = client.post(right())[1]["requestId"]
    report = {"requestId": asked, "status": "ok", "output": "the plan"}

    def post(body: Any, **how: Any) -> Answer:
        return client.send("POST", "/v1/outcomes", body, **how)

    status, taken = post(report)
    assert status == 202
    assert len(taken["outcomeId"]) == 32
    assert post(report)[1]["outcomeId"] == taken["outcomeId"]
    assert_denied(post(report, agent=None), 401, "unknown_caller")
    assert_denied(post(report, agent="other"), 400, "malformed")
    wrong: list[Any] = [
        {**report, "requestId": UNKNOWN_ID},
        {**report, "requestId": "x"},
        {**report, "status": "perhaps"},
        {**report, "toolName": "mail.send"},
        {**report, "sessionId": "another"},
        {**report, "more": 1},
        {**report, "digest": "0" * 64},
        {"requestId": asked, "status": "ok"},
        {"requestId": asked, "status": "ok", "digest": "short"},
        {**report, "requestOffset": -1},
        [],
        b"{",
    ]
    for body in wrong:
        assert_denied(post(body), 400, "malformed")
    known = client.post(
        in_context(history=[{"tool": "notes.read", "outcomeId": taken["outcomeId"]}])
    )
    assert known[0] == 200
    unknown = client.post(in_context(history=[{"tool": "notes.read", "outcomeId": "0" * 32}]))
    assert unknown[0] == 200


def test_looking_up_answers_the_owner_and_hands_nothing_out_twice(client: Client) -> None:
    asked = client.post(right())[1]

    def look(request_id: str, query: str = "", agent: str | None = AGENT) -> Answer:
        return client.send("GET", f"/v1/decisions/{request_id}{query}", agent=agent, kind=None)

    status, found = look(asked["requestId"])
    assert (status, found["action"]) == (200, "deny")
    assert found["decided"] == {"action": "allow", "code": "allowed"}
    assert "grant" not in found
    assert_denied(look(asked["requestId"], agent="other"), 404, "unknown_request")
    assert_denied(look(asked["requestId"], agent=None), 401, "unknown_caller")
    assert_denied(look(UNKNOWN_ID), 404, "unknown_request")
    assert_denied(look("x"), 400, "malformed")
    assert_denied(look(UNKNOWN_ID[:-1] + "g"), 400, "malformed")
    denied = client.post(right(toolName="no.such"))[1]["requestId"]
    for query in ("?waitMs=x", "?waitMs=-1"):
        answer = look(denied, query)
        assert answer[1]["action"] == "deny"
    assert look(denied)[1]["code"] == "unknown_tool"


def test_health_readiness_metrics_and_openapi_answer_everybody(client: Client) -> None:
    assert client.send("GET", "/healthz", agent=None)[1] == {"alive": True}
    assert client.send("GET", "/readyz", agent=None)[1] == {"ready": True, "reason": ""}
    document = client.send("GET", "/openapi.json", agent=None)[1]
    assert document["openapi"].startswith("3.1")
    assert {"/v1/decisions", "/v1/outcomes"} <= set(document["paths"])
    page = client.bytes(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").decode()
    assert "# TYPE agentguard_" in page
    assert client._world.tokens[AGENT] not in page


def test_slow_clients_are_let_go_with_a_deny_or_a_closed_connection(
    slow: list[socket.socket],
) -> None:
    for line in slow:
        line.settimeout(WAIT_S)
        found = b""
        try:
            while part := line.recv(65_536):
                found += part
        except ConnectionResetError:
            pass
        assert found == b"" or b'"action":"deny"' in found
