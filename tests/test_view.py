"""`factory view`: its door, its tables as files, the overview, and the SQL console."""

import io
import json
import re
import shutil
from contextlib import ExitStack
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pyarrow.parquet
import pytest
from starlette.testclient import TestClient

from factory.view.app import make_app
from factory.view.readers import Readers, within
from factory.view.security import LARGEST_BODY
from factory.view.serving import PORTS_TRIED, Door, _listen, serve
from factory.view.stored_queries import parameters_of, stored_queries
from schemas.errors import FactoryError
from schemas.tables import Evaluation, Loop, LoopStep, Run
from stores.lake import Lake
from tests.rows import fill, row, sampled
from tests.test_door import FUNCTIONS, STATEMENTS
from tests.views import HOST, pages, pages_of, run_lake

__all__ = ["pages", "run_lake"]
OURS = {"origin": f"http://{HOST}"}


# The door


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8360", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:8360.evil.example", ""]
)
def test_a_request_for_another_host_is_refused(pages: TestClient, host: str) -> None:
    for path in ("/", "/sql?sql=FROM runs", "/static/view.js"):
        assert pages.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": f"https://{HOST}"},
        {"origin": f"http://{HOST}.evil.example"},
        {"referer": f"http://{HOST}/"},
    ],
)
def test_only_a_page_of_ours_can_change_anything(pages: TestClient, headers: dict[str, str]) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert pages.request(method, "/", headers=headers).status_code == 403
    assert pages.post("/", headers=OURS).status_code == 405  # let in; the overview changes nothing


def test_another_sites_page_cannot_read_but_a_link_on_it_can_be_followed(pages: TestClient) -> None:
    assert (
        pages.get("/index.json", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}).status_code
        == 403
    )
    assert pages.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
    assert "access-control-allow-origin" not in pages.get("/", headers={"origin": "http://evil.example"}).headers


def test_every_answer_forbids_scripts_of_others_and_frames(pages: TestClient) -> None:
    for path in ("/", "/nowhere", "/index.csv", "/static/view.css", "/sql?sql=DROP TABLE runs"):
        headers = pages.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_a_large_body_is_refused_before_it_is_read(pages: TestClient) -> None:
    assert pages.post("/", content=b"x" * (LARGEST_BODY + 1), headers=OURS).status_code == 413


def test_a_token_is_shown_once_and_then_a_cookie(run_lake: Path) -> None:
    with pages_of(run_lake, token="secret") as client:
        for path in ("/", "/index.json", "/sql?sql=FROM runs", "/static/view.js", "/?token=wrong", "/?token="):
            assert client.get(path).status_code == 401
        assert client.get("/", cookies={"factory_view": "wrong"}).status_code == 401
        answer = client.get("/sql?sql=FROM+runs&token=secret")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sql?sql=FROM+runs")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_other_addresses_than_loopback_need_a_token(run_lake: Path, host: str) -> None:
    with pytest.raises(FactoryError, match="add --token"):
        serve(str(run_lake), host, 0, (), print, with_token=False, show=False)


def test_where_the_pages_can_be_reached() -> None:
    assert Door("127.0.0.1", 8360, None).hosts == {"127.0.0.1:8360", "localhost:8360", "[::1]:8360"}
    assert "box.example:80" in Door("0.0.0.0", 80, "t", ("Box.example",)).hosts
    assert Door("::1", 8360, "t").address == "http://[::1]:8360/?token=t"


def test_a_port_in_use_gives_the_next_free_one() -> None:
    # Below the ports that systems give out by themselves, so that there always are 20 more.
    with _listen("127.0.0.1", 20_000) as taken:
        port = taken.getsockname()[1]
        with _listen("127.0.0.1", port) as found:
            assert port < found.getsockname()[1] < port + PORTS_TRIED


def test_ports_that_are_all_in_use_are_one_sentence() -> None:
    with ExitStack() as held, pytest.raises(FactoryError, match=r"ports 65535 to 65535 of .* are in use"):
        for _ in range(2):
            held.enter_context(_listen("127.0.0.1", 65_535))


def test_no_lake_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="no lake"):
        serve(str(tmp_path / "none"), "127.0.0.1", 0, (), print, with_token=False, show=False)


# Tables


def test_a_table_is_also_json_csv_and_parquet(pages: TestClient) -> None:
    listed = pages.get("/index.json").json()
    assert len(listed) == 1 and listed[0]["recipe"] == "spar" and listed[0]["trees"] > 0
    csv = pages.get("/index.csv").text.splitlines()
    assert csv[0].startswith('"run_id"') and len(csv) == 2
    rows = pyarrow.parquet.read_table(io.BytesIO(pages.get("/index.parquet").content))
    assert rows.column("run_id").to_pylist() == [listed[0]["run_id"]]
    assert pages.get("/index.json?table=loops").json() == []
    assert pages.get("/index.json?table=lops").json() == {
        "error": "the page has no table 'lops': did you mean 'loops'?"
    }


def test_a_tables_order_is_in_the_address(pages: TestClient) -> None:
    run_id = pages.get("/index.json").json()[0]["run_id"]
    text = pages.get(f"/run/{run_id}").text
    assert f'href="/run/{run_id}?sort=cost.calls"' in text
    calls = [row["calls"] for row in pages.get(f"/run/{run_id}.json?sort=-cost.calls").json()]
    assert calls == sorted(calls, reverse=True) and len(set(calls)) > 1
    assert f'href="/run/{run_id}?sort=-cost.calls"' in pages.get(f"/run/{run_id}?sort=cost.calls").text
    for odd in ("cost.nothing", "cost", "-", "x.y.z"):
        assert pages.get(f"/run/{run_id}", params={"sort": odd}).status_code == 200


def test_the_overview_comes_first_and_its_figures_after_it(pages: TestClient) -> None:
    first, counted = pages.get("/").text, pages.get("/?figures=1").text
    assert 'data-load="/?figures=1"' in first and "acceptance" not in first
    assert "acceptance" in counted and 'data-load="/' not in counted


def test_a_runs_page_has_its_figures_and_plots(pages: TestClient) -> None:
    run_id = pages.get("/index.json").json()[0]["run_id"]
    text = pages.get(f"/run/{run_id}").text
    assert "finished" in text and text.count("<svg") >= 2
    cost = pages.get(f"/run/{run_id}.json").json()
    assert {row["stage"] for row in cost} >= {"sample", "judge", "search"}


def test_a_loops_rounds_are_words_on_the_page_and_numbers_in_its_files(tmp_path: Path) -> None:
    where = tmp_path / "lake"
    with Lake.open(where, create=True) as lake:
        ran = {"loop_id": "loop", "role": "actor", "seconds": 61.0}
        fill(
            lake,
            row(Loop, "event", loop_id="loop", status="finished", settings='{"loop": {"rounds": 1}}'),
            *(row(LoopStep, f"run{at}", **ran, round=at, step="run", run_id=f"run{at}") for at in (1, 2)),
            row(LoopStep, "measured", **ran, round=2, step="evaluate ifeval", run_id="e", model_id="m"),
            row(Evaluation, "figure", run_id="e", model_id="m", role="actor", benchmark="ifeval", metric="prompt_strict",
                value=0.5, low=0.4, high=0.625, settings="{}"),
        )  # fmt: skip
    with pages_of(where) as client:
        shown = client.get("/loop/loop").text
        assert "50.0 [40.0, 62.5]" in shown and "1:01" in shown
        first, second = client.get("/loop/loop.json").json()
        assert (second["round"], second["run_id"], second["run_s"]) == (2, "run2", 61)
        metric = "actor ifeval prompt_strict"
        assert [second[metric + end] for end in ("", " low", " high")] == [0.5, 0.4, 0.625]
        assert first[metric] is None and client.get("/loop/loop.csv").text.count("\n") == 3
        assert client.get("/loop/loop.parquet").status_code == 200


def test_an_unknown_id_names_the_nearest(pages: TestClient) -> None:
    run_id = pages.get("/index.json").json()[0]["run_id"]
    answer = pages.get(f"/run/{run_id[:-1]}")
    assert answer.status_code == 404 and f"the nearest are {run_id}" in answer.text
    assert pages.get("/loop/none").status_code == 404
    assert pages.get("/nowhere").status_code == 404


def test_a_page_that_fails_says_so(pages: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.view.pages.overview.query", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pages.get("/")
    quiet = TestClient(pages.app, f"http://{HOST}", raise_server_exceptions=False)
    answer = quiet.get("/")
    assert answer.status_code == 500 and "this page failed (ZeroDivisionError)" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_lake_without_runs_says_how_to_make_one(empty_lake: Path) -> None:
    with pages_of(empty_lake) as client:
        assert "factory run" in client.get("/").text
        assert client.get("/?figures=1").status_code == 200


def test_pages_show_what_a_run_adds_meanwhile(tmp_path: Path, empty_lake: Path) -> None:
    where = tmp_path / "lake"
    shutil.copytree(empty_lake, where)
    with pages_of(where) as client, Lake.open(where, create=True) as lake:
        count = "/sql.json?sql=SELECT count(*) AS n FROM responses"
        assert client.get(count).json() == [{"n": 0}] and client.get("/index.json").json() == []
        fill(lake, sampled("new"), row(Run, "e", run_id="run", status="finished", recipe_name="spar"))
        assert client.get(count).json() == [{"n": 1}]
        assert [run["run_id"] for run in client.get("/index.json").json()] == ["run"]


# The console


def test_a_query_is_its_address(pages: TestClient) -> None:
    text = pages.get("/sql", params={"sql": "SELECT 40 + 2 AS found, 'x' AS name"}).text
    assert ">42</td>" in text and "1 row" in text
    assert pages.get("/sql.csv", params={"sql": "SELECT 42 AS found"}).text == '"found"\n42\n'
    parquet = pages.get("/sql.parquet", params={"sql": "FROM range(5000)"}).content
    assert pyarrow.parquet.read_table(io.BytesIO(parquet)).num_rows == 5000
    assert "5,000 rows, the first 1,000 shown" in pages.get("/sql", params={"sql": "FROM range(5000)"}).text
    assert "&gt;100,000 rows" in pages.get("/sql", params={"sql": "FROM range(300000)"}).text


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.heavy)])
def test_the_console_refuses_what_the_door_refuses(pages: TestClient, every: int) -> None:
    def asked(sql: str) -> tuple[str, int, str]:
        answer = pages.get("/sql.json", params={"sql": sql})
        return sql, answer.status_code, answer.text

    refused = [sql for sql in (*STATEMENTS, *FUNCTIONS) if sql.strip()][::every]
    with ThreadPool(3) as threads:  # as many as the pages have connections; each query starts a process
        for sql, status, text in threads.map(asked, refused):
            assert status == 400 and '"error"' in text, sql
    assert 'role="alert"' in pages.get("/sql", params={"sql": refused[0]}).text


def test_the_console_asks_at_a_snapshot(pages: TestClient) -> None:
    count = "SELECT count(*) AS n FROM nodes"
    assert pages.get("/sql.json", params={"sql": count, "at": "1"}).json() == [{"n": 0}]
    assert pages.get("/sql.json", params={"sql": count}).json()[0]["n"] > 0
    assert "a snapshot is a number" in pages.get("/sql", params={"sql": count, "at": "x"}).text


def test_parameters_become_fields(pages: TestClient) -> None:
    sql = "SELECT $name AS name, $n + 1 AS n -- $not_this '$nor_this'"
    assert parameters_of(sql) == {"name": "", "n": ""}
    text = pages.get("/sql", params={"sql": sql, "p_name": '"><b>', "p_n": "41"}).text
    assert 'name="p_name" value="&#34;&gt;&lt;b&gt;"' in text and ">42</td>" in text


@pytest.mark.parametrize("name", sorted(stored_queries()))
def test_every_ready_made_query_runs(pages: TestClient, name: str) -> None:
    answer = pages.get("/sql", params={"name": name})
    assert answer.status_code == 200, re.findall(r'role="alert"[^>]*>([^<]*)', answer.text)


def test_a_users_queries_stand_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text("-- Mine. In: $n BIGINT = 3.\nSELECT $n AS n")
    (tmp_path / "flaws.sql").write_text("-- My own flaws.\nFROM responses")
    found = stored_queries(tmp_path)
    assert found["mine"].title == "Mine" and found["flaws"].title == "My own flaws"
    assert parameters_of(found["mine"].text) == {"n": 3}
    with pytest.raises(FactoryError, match="no folder of queries"):
        stored_queries(tmp_path / "none")


def test_a_result_is_plotted(pages: TestClient) -> None:
    sql = "SELECT 'a<b href=\"x\">' AS name, 3 AS n UNION ALL SELECT 'b', 4 ORDER BY n"
    for kind, x, y in (("bar", "name", "n"), ("line", "n", "n"), ("points", "n", "n"), ("histogram", "n", "n")):
        answer = pages.get("/sql.svg", params={"sql": sql, "plot": kind, "x": x, "y": y})
        assert answer.status_code == 200 and answer.text.startswith("<svg")
        # A link or an element of a row's text would be another than lets-plot's own.
        assert not re.search(r"<(a|b|script|foreignObject|image|use)\b", answer.text)
    wrong = pages.get("/sql.svg", params={"sql": sql, "plot": "bar", "x": "n", "y": "name"})
    assert wrong.status_code == 400 and "needs numbers" in wrong.text


def test_the_schema_for_completion(pages: TestClient) -> None:
    known = pages.get("/sql/schema.json").json()
    assert known["trees"][0] == "tree_id" and "passed" in known["verdicts"]


HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover=alert(1) x="',
    "javascript:alert(1)",
    "\x00\x1b[31m\u202e",
    "{{ 7 * 7 }}",
    "</textarea><b>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_a_row_is_markup(pages: TestClient, text: str) -> None:
    sql = "SELECT $text AS " + '"<i>name</i>"'
    answer = pages.get("/sql", params={"sql": sql, "p_text": text}).text
    for markup in ("<script>alert", "<i>name", 'onmouseover=alert(1) x="', "</textarea><b>", "\x1b", "\u202e", "49"):
        assert markup not in answer.replace("&#34; onmouseover=alert(1) x=&#34;", "")


def test_values_that_json_or_python_lack(pages: TestClient) -> None:
    sql = "SELECT 'nan'::DOUBLE AS n, TIMESTAMP '290000-01-01' AS late, MAP {'a': 1} AS m, 'x'::BLOB AS b, INTERVAL 1 DAY AS i"
    assert pages.get("/sql", params={"sql": sql}).status_code == 200
    (row,) = json.loads(pages.get("/sql.json", params={"sql": sql}).text)
    assert row["n"] is None and "out of range" in row["late"]


def test_a_query_that_takes_too_long_is_left(run_lake: Path) -> None:
    readers = Readers(str(run_lake))
    with readers.lake() as lake:
        assert within(lake, 0.001, "SELECT count(*) FROM range(100000000000)") is None
        found = within(lake, 60, "SELECT 1 AS n")
        assert found is not None and found.to_pylist() == [{"n": 1}]
    readers.close()


def test_a_proxy_with_tls_passes_its_own_name_on(run_lake: Path) -> None:
    hosts = Door("0.0.0.0", 8360, "t", ("Lake.example.com",)).hosts
    readers = Readers(str(run_lake))
    client = TestClient(make_app(readers, hosts), "http://lake.example.com", follow_redirects=False)
    assert client.get("/").status_code == 200
    assert client.post("/", headers={"origin": "https://lake.example.com"}).status_code == 405
    assert client.post("/", headers={"origin": "https://evil.example.com"}).status_code == 403
    readers.close()


def test_odd_addresses_and_columns_of_one_name(pages: TestClient) -> None:
    for odd in ({"at": "²"}, {"at": "9" * 40}):
        assert pages.get("/sql", params={"sql": "SELECT 1", **odd}).status_code == 400
    assert pages.get("/sql", params={"sql": "SELECT length($x) AS n", "p_x": "9" * 5000}).status_code == 200
    answer = pages.get("/sql.json", params={"sql": "SELECT 1 AS a, 2 AS a, 3 AS a_1"})
    assert list(answer.json()[0].values()) == [1, 2, 3]
    assert pages.get("/sql", params={"sql": "SELECT 1 AS a, 2 AS a"}).status_code == 200
