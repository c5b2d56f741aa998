# SPDX-License-Identifier: Apache-2.0
"""Row stores behave alike; the embedded one keeps what it was given and its door only reads."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
import typer
from click.testing import Result
from clickhouse_connect.driver.exceptions import DatabaseError
from typer.testing import CliRunner

from agentguard.adapters.memory_store import MemoryStore
from agentguard.cli import query
from agentguard.local.platform_files import (
    Credentials,
    Platform,
    StoreCredential,
    read_platform,
    write_credentials,
    write_platform,
)
from tests.contracts.row_store_behaviour import BEHAVIOURS

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("embedded_store_process.py")
FUNCTIONS = ROOT / "tests" / "golden" / "engine_functions.txt"
VIEWS = ROOT / "docs" / "analyst" / "views.md"
USER, PASSWORD = "analyst", "right-password"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("embedded")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
    assert process.stdin
    assert process.stdout
    try:
        lines = [process.stdout.readline()]
        while lines[-1] and not lines[-1].startswith(b"{"):
            lines.append(process.stdout.readline())
        assert lines[-1], (folder / "stderr").read_text()
        yield json.loads(lines[-1])
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="module")
def client(embedded: dict[str, Any]) -> Iterator[Any]:
    opened = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=embedded["port"],
        username=USER,
        password=PASSWORD,
        autogenerate_session_id=False,
    )
    yield opened
    opened.close()


def ask(
    embedded: dict[str, Any],
    path: str,
    *,
    body: bytes | None = None,
    user: str = USER,
    password: str = PASSWORD,
    headers: dict[str, str] | None = None,
) -> tuple[int, str, Any]:
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{embedded['port']}{path}",
        data=body,
        headers=({"Authorization": f"Basic {basic}"} if user else {}) | (headers or {}),
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


# the two row stores


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_memory_store_behaves_as_every_row_store_must(name: str) -> None:
    BEHAVIOURS[name](MemoryStore())


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_embedded_store_behaves_as_every_row_store_must(
    embedded: dict[str, Any], name: str
) -> None:
    assert embedded["behaviours"][name] == ""


def test_every_column_that_a_row_names_exists(embedded: dict[str, Any]) -> None:
    assert len(embedded["columns"]) == 16
    assert not [table for table, missing in embedded["columns"].items() if missing]


def test_nothing_that_is_stored_can_be_changed_or_removed(embedded: dict[str, Any]) -> None:
    assert len(embedded["refused"]) == 14
    for statement, answer in embedded["refused"].items():
        assert "Code: 497" in answer or "keep_rank" in statement, statement


def test_store_of_another_cluster_or_tenant_is_refused(embedded: dict[str, Any]) -> None:
    assert "the store serves cluster" in embedded["other_cluster"]
    assert "tenant `acme`" in embedded["other_tenant"]


# what is asked of it


def test_each_request_has_one_effective_decision_the_first_that_counts(client: Any) -> None:
    rows = client.query(
        "SELECT source_offset, verdict, offset FROM decisions WHERE tool = 'mail.send'"
    ).result_rows
    assert rows == [(1, "deny", 0)]
    assert client.command("SELECT count() FROM decisions_all WHERE source_offset = 1") == 2


def test_reason_of_a_denial_quotes_its_evidence(client: Any) -> None:
    ((reason, sentence),) = client.query(
        "SELECT reason, sentence FROM decisions WHERE tool = 'mail.send'"
    ).result_rows
    assert sentence == "send it"
    assert reason == "the user's task does not ask for `mail.send`"


def test_what_the_caller_really_got_is_told_for_every_decision(client: Any) -> None:
    rows = client.query(
        "SELECT tool, decided, how, action, code, count FROM enforced_actions ORDER BY tool"
    ).result_rows
    assert set(rows) == {
        ("", "", "denied_at_gateway", "deny", "shed", 7),
        ("", "deny", "not_reported", "unknown", "not_asked", 1),
        ("mail.late", "allow", "denied_at_gateway", "deny", "deadline", 1),
        ("mail.read", "allow", "delivered", "allow", "allowed", 1),
        ("mail.send", "deny", "delivered", "deny", "not_asked", 1),
        ("mail.silent", "deny", "not_reported", "unknown", "not_asked", 1),
    }


def test_grants_and_current_state_are_told(client: Any) -> None:
    tokens = client.query("SELECT tool, status FROM tokens ORDER BY tool").result_rows
    assert set(tokens) == {("mail.read", "expired"), ("mail.send", "expired")}
    agents = client.query("SELECT tenant, agent_id, status FROM agents").result_rows
    assert agents == [("acme", "agent-1", "pending")]
    commands = client.query("SELECT type, accepted FROM control_commands ORDER BY offset")
    assert commands.result_rows == [("Genesis", True), ("RegisterAgent", True)]


def test_payload_is_the_sealed_record_and_its_texts_are_cut_out_of_it(client: Any) -> None:
    rows = client.query(
        "SELECT count() FROM requests WHERE problem = '' AND leaf_hash = "
        "SHA256(concat(char(0), payload))"
    ).result_rows
    assert rows == [(4,)]
    found = client.query(
        "SELECT DISTINCT task, parameters FROM requests WHERE hasToken(parameters, 'example')"
    ).result_rows
    assert found == [("send the report", '{"to":"x@example.com"}')]


def test_second_tenants_record_left_nothing_but_its_place(client: Any, embedded: Any) -> None:
    rows = client.query(
        "SELECT partition, offset, payload, tenant FROM requests WHERE problem = 'foreign_tenant'"
    ).result_rows
    assert rows == [(1, 0, "", "")]
    assert embedded["problems"]["foreign_tenant"] == 1


def test_latency_of_each_stage_is_rolled_up(client: Any) -> None:
    select = "SELECT count() FROM system.view_refreshes WHERE exception = ''"
    assert client.command(select) == 1


def sql_of(text: str) -> list[str]:
    return [part.split("```")[0].strip() for part in text.split("```sql\n")[1:]]


@pytest.mark.parametrize("sql", sql_of(VIEWS.read_text(encoding="utf-8")))
def test_documented_example_runs_as_it_stands(client: Any, sql: str) -> None:
    client.query(sql)


def test_every_view_and_log_table_is_documented_with_an_example(client: Any) -> None:
    text = "\n".join(sql_of(VIEWS.read_text(encoding="utf-8")))
    names = {row[0] for row in client.query("SHOW TABLES").result_rows}
    inner = {n for n in names if n.endswith(("_all", "_refresh"))} - {"decisions_all"}
    plumbing = {"migrations", "sink_progress", "store_identity", "chunks", "epochs", "redemptions"}
    told = {"deliveries"}  # through `enforced_actions`
    undocumented = {n for n in names - inner - plumbing - told if f"FROM {n}" not in text}
    assert undocumented == set()


def test_evidence_query_of_every_mapping_runs(client: Any) -> None:
    rows = client.query("SELECT control, evidence_query FROM compliance_mappings").result_rows
    assert len(rows) >= 10
    for _, evidence in rows:
        client.query(evidence)


# the door, as unmodified clients use it


def test_typed_parameters_stay_data(client: Any) -> None:
    hostile = "x' OR 1 = 1 --"
    rows = client.query(
        "SELECT count() FROM requests WHERE tool = {tool:String}", parameters={"tool": hostile}
    ).result_rows
    assert rows == [(0,)]
    assert client.query("SELECT {n:UInt8} + 1", parameters={"n": 41}).result_rows == [(42,)]


def test_frames_arrow_and_row_streams_work(client: Any) -> None:
    frame = client.query_df("SELECT tool, offset FROM requests ORDER BY offset")
    assert list(frame.columns) == ["tool", "offset"]
    assert client.query_arrow("SELECT 1 AS one").num_rows == 1
    with client.query_rows_stream("SELECT number FROM numbers(200000)") as stream:
        assert sum(1 for _ in stream) == 200_000
    assert client.command("SELECT version()")
    assert client.ping()


@pytest.mark.parametrize(
    "statement",
    [
        "SHOW TABLES",
        "DESCRIBE TABLE decisions",
        "EXPLAIN SELECT 1",
        "EXISTS TABLE requests",
        "-- a remark\nSELECT 1",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "WITH 1 AS a SELECT a",
        "SHOW CREATE TABLE requests",
    ],
)
def test_every_kind_of_reading_statement_is_answered(client: Any, statement: str) -> None:
    assert client.query(statement).result_rows


def test_question_with_no_rows_is_answered_with_none(client: Any) -> None:
    assert client.query("SELECT tool FROM requests WHERE 0").result_rows == []


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO agentguard.requests (topic) VALUES ('x')",
        "DROP TABLE agentguard.requests",
        "ALTER TABLE agentguard.requests DELETE WHERE 1",
        "CREATE TEMPORARY TABLE t (a UInt8)",
        "ATTACH TABLE t FROM '/tmp' (a UInt8) ENGINE = MergeTree ORDER BY a",
        "OPTIMIZE TABLE agentguard.requests",
        "SELECT 1 INTO OUTFILE '/tmp/agentguard-outfile'",
        "SYSTEM STOP MERGES",
        "SYSTEM SHUTDOWN",
        "KILL QUERY WHERE 1",
        "SET max_execution_time = 0",
        "SET ROLE DEFAULT",
        "USE system",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE agentguard.requests",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')",
        "SELECT * FROM remote('127.0.0.1', system.one)",
        "SELECT * FROM s3('http://127.0.0.1:1/x', 'LineAsString')",
        "SELECT * FROM executable('x', 'TSV', 'x String')",
        "SELECT * FROM Python(sys)",
        "INSERT INTO FUNCTION file('/tmp/agentguard-x', 'CSV') SELECT 1",
        "SELECT file('/etc/passwd')",
        "SELECT FILE('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT \"file\"('/etc/passwd')",
        "SELECT `\\x66ile`('/etc/passwd')",
        "SELECT/**/file/**/('/etc/passwd')",
        "SELECT file -- x\n('/etc/passwd')",
        "SELECT arrayMap(x -> file(x), ['/etc/passwd'])",
        "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
        "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
        "SELECT * APPLY(x -> file(x)) FROM (SELECT '/etc/passwd')",
        "SELECT * FROM values('a String', file('/etc/passwd'))",
        "SELECT * FROM format('LineAsString', file('/etc/passwd'))",
        "SELECT * FROM numbers(length(file('/etc/passwd')))",
        "SELECT 1 WHERE file('/etc/passwd') = ''",
        "SELECT 1 ORDER BY file('/etc/passwd')",
        "SELECT 1 LIMIT length(file('/etc/passwd'))",
        "WITH file('/etc/passwd') AS x SELECT x",
        "EXPLAIN SELECT file('/etc/passwd')",
        "EXPLAIN SYNTAX SELECT file('/etc/passwd')",
        "DESCRIBE (SELECT file('/etc/passwd'))",
        "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('/etc/passwd')))",
        "SELECT file('/etc/passwd') FORMAT Null",
        "SELECT * REPLACE (file('/etc/passwd') AS a) FROM (SELECT 'a' AS a)",
        "SELECT 1 AS a ARRAY JOIN [file('/etc/passwd')] AS b",
        "SELECT number FROM numbers(3) ORDER BY number WITH FILL INTERPOLATE (x AS file('/x'))",
        "SELECT aiGenerate('x', 'y')",
        "SELECT sleep(3)",
        "SELECT * FROM system.stack_trace",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT * FROM eval(concat('SELECT fi', 'le(1)'))",
        "SELECT * FROM `/etc/passwd`",
        "SELECT * FROM default.`/etc/passwd`",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM filesystem('/etc')",
        "SELECT * FROM fileCluster('default', '/etc/passwd', 'LineAsString')",
        "SELECT * FROM sqlite('/tmp/x.db', 't')",
        "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
        "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
        "SELECT * FROM cluster('default', system.one)",
        "SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/', 'LineAsString', 'x String')",
        "SELECT * FROM gcs('http://127.0.0.1:1/x', 'LineAsString')",
        "SELECT * FROM azureBlobStorage('http://127.0.0.1:1', 'c', 'p', 'a', 'k', 'CSV')",
        "SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', 'LineAsString')",
        "SELECT * FROM iceberg('http://127.0.0.1:1/x')",
        "SELECT * FROM jdbc('x', 'y', 'z')",
        "SELECT * FROM mongodb('127.0.0.1:1', 'd', 'c', 'u', 'p', 'x String')",
        "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')",
        "SELECT * FROM ytsaurus('http://127.0.0.1:1', 't', 'x', 'x String')",
        "SELECT * FROM dictionary('x')",
        "CREATE FUNCTION f AS (x) -> x",
        "CREATE NAMED COLLECTION c AS a = 1",
        "EXPLAIN SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "EXPLAIN SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')",
        "DESCRIBE TABLE file('/etc/passwd', 'LineAsString')",
        "DESCRIBE TABLE url('http://127.0.0.1:1/', 'LineAsString')",
        "DESCRIBE (SELECT * FROM file('/etc/passwd', 'LineAsString'))",
        "WITH (SELECT any(line) FROM file('/etc/passwd', 'LineAsString')) AS x SELECT x",
        "SELECT * FROM view(SELECT * FROM file('/etc/passwd', 'LineAsString'))",
        "SELECT demangle(addressToSymbol(1))",
        "CHECK TABLE agentguard.requests",
        "EXPLAIN ESTIMATE SELECT * FROM default.x",
        "BEGIN TRANSACTION",
        "EXECUTE AS default SELECT 1",
        "PARALLEL WITH SELECT 1",
        "UNDROP TABLE agentguard.x",
        "EXCHANGE TABLES agentguard.requests AND agentguard.outcomes",
        "MOVE ROLE a TO b",
        "WATCH agentguard.requests",
        "BACKUP DATABASE agentguard TO File('/tmp/agentguard-backup')",
        "GRANT ALL ON *.* TO default",
        "EXPLAIN AST DROP TABLE agentguard.requests; DROP TABLE agentguard.requests",
    ],
)
def test_door_refuses_whatever_does_more_than_read(
    embedded: dict[str, Any], statement: str
) -> None:
    status, text, headers = ask(embedded, "/", body=statement.encode())
    assert status in (400, 403, 404, 500), text
    assert headers["X-ClickHouse-Exception-Code"] != "", text
    assert "Code: " in text
    assert not Path("/tmp/agentguard-outfile").exists()
    assert ask(embedded, "/?query=SELECT+count()+%3E+0+FROM+requests")[:2] == (200, "1\n")


@pytest.mark.parametrize("value", ["file", "FILE", "%5Cx66ile", "%60file%60", "fi%0Ale", "a.file"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT {f:Identifier}('/etc/passwd')",
        "SELECT * APPLY {f:Identifier} FROM (SELECT '/etc/passwd')",
        "SELECT * APPLY({f:Identifier}) FROM (SELECT '/etc/passwd')",
        "SELECT * FROM {f:Identifier}('/etc/passwd', 'LineAsString')",
        "SELECT arrayMap({f:Identifier}, ['/etc/passwd'])",
        "SELECT arrayMap({ f : Identifier }, ['/etc/passwd'])",
        "SELECT arrayMap({f:/**/Identifier}, ['/etc/passwd'])",
        "SELECT '/etc/passwd' AS a, {f:String}(a)",
    ],
)
def test_name_of_a_function_cannot_come_in_as_a_parameter(
    embedded: dict[str, Any], sql: str, value: str
) -> None:
    status, text, _ = ask(embedded, f"/?param_f={value}", body=sql.encode())
    assert status in (400, 403, 404, 500), text


def test_name_of_a_table_may_come_in_as_a_parameter(client: Any) -> None:
    sql = "SELECT count() > 0 FROM {t:Identifier}"
    assert client.query(sql, parameters={"t": "requests"}).result_rows == [(True,)]


def test_no_function_of_the_engine_is_new_to_the_review(client: Any) -> None:
    known = set(FUNCTIONS.read_text(encoding="utf-8").splitlines())
    names = client.query("SELECT name FROM system.functions").result_rows
    tables = client.query("SELECT name FROM system.table_functions").result_rows
    found = {f"function {n}" for (n,) in names} | {f"table function {n}" for (n,) in tables}
    assert found - known == set()
    assert len(found) > 1_500


def test_the_word_file_in_a_text_is_no_reason_to_refuse(client: Any) -> None:
    sql = "SELECT 'file(' AS a, $$it's file($$ AS b, count() FROM requests WHERE tool = 'file'"
    assert client.query(sql).result_rows == [("file(", "it's file(", 0)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT file('/etc/hostname')",
        "SELECT `\\x66ile`('/etc/hostname')",
        "EXPLAIN SELECT file('/etc/hostname')",
        "WITH file AS f SELECT arrayMap(f, ['/etc/hostname'])",
        "SELECT arrayMap(file, ['/etc/hostname'])",
        "SELECT arrayMap(x -> file(x), ['/etc/hostname'])",
        "SELECT arrayMap({f:Identifier}, ['/etc/hostname'])",
        "SELECT * APPLY(file) FROM (SELECT '/etc/hostname' AS x)",
        "SELECT COLUMNS('x') APPLY file FROM (SELECT '/etc/hostname' AS x)",
        "SELECT * REPLACE(file('/etc/hostname') AS x) FROM (SELECT 1 AS x)",
        "SELECT * FROM view(SELECT file('/etc/hostname'))",
        "FROM system.one SELECT file('/etc/hostname') FORMAT JSON",
        "SELECT 1 ORDER BY 1 WITH FILL FROM length(file('/etc/hostname'))",
        "file('/etc/hostname')",
        "(file('/etc/hostname'))",
    ],
)
def test_no_question_reads_a_file_of_the_machine(embedded: dict[str, Any], statement: str) -> None:
    status, text, _ = ask(embedded, "/?param_f=file", body=statement.encode())
    assert status in (400, 403, 404, 500), text
    assert Path("/etc/hostname").read_text().strip() not in text.removeprefix("Code")


def test_no_setting_in_the_address_writes_a_file(embedded: dict[str, Any], tmp_path: Path) -> None:
    made = tmp_path / "made"
    for kind in ("Protobuf", "ProtobufList"):
        address = f"/?output_format_schema={made}&default_format={kind}&query=SELECT+1+AS+a"
        ask(embedded, address)
        assert not made.exists()


@pytest.mark.parametrize(
    "name", ["dataframe", "ArrowTable", "DataStore", "Debug", "Nothing", "Native%20INTO%20OUTFILE"]
)
def test_format_that_makes_no_bytes_is_refused(embedded: dict[str, Any], name: str) -> None:
    for sql in ("SELECT+1", "SHOW+TABLES"):
        status, text, _ = ask(embedded, f"/?default_format={name}&query={sql}")
        assert status in (400, 404, 500), text
        assert "Code: " in text


def test_settings_in_the_address_cannot_lift_a_limit(embedded: dict[str, Any]) -> None:
    query = (
        "/?readonly=0&max_execution_time=9999&max_memory_usage=0&query="
        "SELECT+name,value+FROM+system.settings+WHERE+name+IN+"
        "('readonly','max_execution_time','max_memory_usage','log_comment')+ORDER+BY+name"
    )
    status, text, _ = ask(embedded, query)
    assert status == 200
    assert dict(line.split("\t") for line in text.splitlines()) == {
        "log_comment": USER,
        "max_execution_time": "30",
        "max_memory_usage": "2000000000",
        "readonly": "1",
    }


def test_wrong_user_or_password_is_refused(embedded: dict[str, Any]) -> None:
    for user, password in (("", ""), (USER, "wrong"), ("other", PASSWORD), ("default", "")):
        status, text, headers = ask(embedded, "/?query=SELECT+1", user=user, password=password)
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (403, "516"), text
    with pytest.raises(DatabaseError, match="516"):
        clickhouse_connect.get_client(
            host="127.0.0.1", port=embedded["port"], username=USER, password="wrong"
        )


def test_questions_by_which_clients_find_their_way_are_answered(client: Any) -> None:
    assert ("decisions",) in client.query("SHOW TABLES").result_rows
    assert "verdict" in client.query("DESCRIBE TABLE decisions").result_columns[0]
    assert client.command("EXISTS TABLE decisions") == 1
    assert "SELECT" in client.command("SHOW CREATE TABLE decisions")


def test_clickhouse_headers_and_forms_are_understood(embedded: dict[str, Any]) -> None:
    headers = {"X-ClickHouse-User": USER, "X-ClickHouse-Key": PASSWORD}
    assert ask(embedded, "/?query=SELECT+1", user="", headers=headers)[:2] == (200, "1\n")
    form = (
        '--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {a:String}\r\n'
        '--b\r\nContent-Disposition: form-data; name="param_a"\r\n\r\ngrüße\r\n--b--\r\n'
    ).encode()
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert ask(embedded, "/", body=form, headers=kind)[:2] == (200, "grüße\n")


def test_oversize_and_undecodable_questions_are_refused(embedded: dict[str, Any]) -> None:
    assert ask(embedded, "/", body=b"SELECT '" + b"x" * 300_000 + b"'")[0] == 400
    assert ask(embedded, "/", body=b"SELECT '\xff\xfe'")[0] == 400
    assert ask(embedded, "/", body=b"SELECT " + b"(" * 5_000)[0] in (400, 403)
    assert ask(embedded, "/?query=SELECT+1&database=a%60b")[0] == 404


def test_question_that_asks_for_too_much_is_stopped(embedded: dict[str, Any]) -> None:
    body = b"SELECT groupArray(number) FROM numbers(1000000000)"
    status, text, _ = ask(embedded, "/", body=body)
    assert status == 500
    assert "Code: 241" in text or "Code: 159" in text


def test_health_readiness_metrics_and_description_need_no_password(
    embedded: dict[str, Any],
) -> None:
    assert ask(embedded, "/healthz", user="")[:2] == (200, "Ok.\n")
    assert ask(embedded, "/ping", user="")[0] == 200
    assert ask(embedded, "/metrics", user="")[0] == 200
    status, text, _ = ask(embedded, "/readyz", user="")
    assert status == 503
    assert "second tenant" in json.loads(text)["reason"]
    assert json.loads(ask(embedded, "/openapi.json", user="")[1])["openapi"] == "3.1.0"


# `agentguard audit query`


@pytest.fixture
def data(embedded: dict[str, Any], tmp_path: Path) -> Path:
    write_platform(
        tmp_path,
        Platform(
            cluster="c",
            bootstrap="",
            gateway="",
            store=f"http://127.0.0.1:{embedded['port']}",
            genesis_digest="",
            audit_domain="",
            tenant="acme",
            principals={},
        ),
    )
    store = StoreCredential(user=USER, password=PASSWORD)
    write_credentials(tmp_path, Credentials(agents={}, people={}, store=store))
    return tmp_path


def verb(data: Path, *arguments: str, given: str | None = None) -> Result:
    app = typer.Typer()
    app.command()(query.command)
    return CliRunner().invoke(app, [*arguments, "--data", str(data)], input=given)


def test_query_verb_prints_a_table_of_flat_text(data: Path) -> None:
    asked = verb(data, "SELECT tool, 'a\x1b[31mb\n[bold]c' AS text FROM decisions ORDER BY tool")
    assert asked.exit_code == 0
    assert "mail.send" in asked.stdout
    assert "[bold]c" in asked.stdout
    assert "\x1b" not in asked.stdout
    assert "5 rows" in asked.stdout


def test_query_verb_prints_json_and_csv(data: Path) -> None:
    sql = "SELECT tool, codes, counts FROM decisions WHERE tool = 'mail.send'"
    row = {"tool": "mail.send", "codes": ["not_asked"], "counts": True}
    assert json.loads(verb(data, sql, "--json").stdout) == [row]
    lines = verb(data, sql, "--csv").stdout.splitlines()
    assert lines == ["tool,codes,counts", 'mail.send,"[""not_asked""]",true']


def test_query_verb_reads_the_statement_from_input(data: Path) -> None:
    assert json.loads(verb(data, "-", "--json", given="SELECT 1 AS one").stdout) == [{"one": 1}]


@pytest.mark.parametrize(
    "sql", ["SELECT nothing FROM decisions", "DROP TABLE requests", "SELECT 1 FORMAT CSV"]
)
def test_refused_question_ends_with_2_and_the_next_step(data: Path, sql: str) -> None:
    asked = verb(data, sql)
    assert asked.exit_code == 2
    assert asked.stdout == ""
    assert "query_refused: " in asked.stderr
    assert "  next: " in asked.stderr


def test_store_that_does_not_answer_ends_with_3(data: Path) -> None:
    change = read_platform(data)
    write_platform(data, replace(change, store="http://127.0.0.1:1"))
    asked = verb(data, "SELECT 1")
    assert asked.exit_code == 3
    assert "store_unreachable: " in asked.stderr
