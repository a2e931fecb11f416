"""What a query may do is decided on its syntax tree: every attack is refused, every harmless read passes."""

import re

import duckdb
import pytest

from schemas.errors import FactoryError
from stores.door.checking import Known, allowed_functions, check, check_expression
from stores.door.definitions import check_definitions, names_of_functions, read_definitions
from stores.pairing import known_pairings, pairing_sql
from stores.sql import views
from stores.training_sets import known_training_sets, training_set_sql

TAKEN = frozenset({"read_text", "sqlite_scan", "range"})
KNOWN = check_definitions(read_definitions(views(), "the views"), Known(), TAKEN, "the views")

STATEMENTS = [
    "CREATE TABLE t (a INT)", "INSERT INTO pairs SELECT * FROM pairs", "DELETE FROM pairs", "ATTACH 'x.db'",
    "COPY pairs TO 'x.csv'", "COPY (SELECT 1) TO 'catalog.sqlite' (FORMAT csv)", "INSTALL httpfs",
    "LOAD './x.duckdb_extension'", "SET threads = 1", "RESET threads", "CALL force_checkpoint()", "PRAGMA version", "USE memory",
    "SELECT 1; DELETE FROM pairs", "SELECT 1; SELECT 2", "WITH x AS (DELETE FROM pairs RETURNING *) FROM x",
    "EXPLAIN SELECT 1", "EXPLAIN ANALYZE DELETE FROM pairs",
    "EXPLAIN ANALYZE COPY (SELECT 'gone' AS x) TO 'lake/catalog.sqlite' (FORMAT csv)", "PREPARE p AS SELECT 1", "EXECUTE p",
    "VACUUM", "CHECKPOINT", "BEGIN", "EXPORT DATABASE 'x'", "IMPORT DATABASE 'x'", "PIVOT pairs ON source USING count(*)",
    "MERGE INTO pairs USING pairs AS p ON true WHEN MATCHED THEN DELETE", "", "-- nothing", "SELECT 1\0; DELETE FROM pairs",
]  # fmt: skip
FUNCTIONS = [
    "FROM query('DELETE FROM pairs')", "FROM query('COPY pairs TO ''x''')", "FROM query_table('/etc/passwd')",
    "FROM enable_logging(storage_path = '/tmp/logs')", "FROM force_checkpoint()", "FROM checkpoint()",
    "FROM ducklake_cleanup_old_files('lake', cleanup_all => true)", "FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "FROM ducklake_expire_snapshots('lake', older_than => now())", "FROM ducklake_merge_adjacent_files('lake')",
    "FROM lake.set_option('x', 'y')", "FROM lake.merge_adjacent_files()", "FROM ducklake_add_data_files('lake', 'pairs', 'x.parquet')",
    "FROM sqlite_query('__ducklake_metadata_lake', 'DELETE FROM ducklake_data_file RETURNING 1')",
    "FROM sqlite_scan('lake/journal.sqlite', 'replies')", "FROM sqlite_attach('x')", "FROM postgres_query('a', 'b')",
    "FROM postgres_scan('', 'public', 'x')", "FROM read_text('/etc/passwd')", "FROM main.read_text('/etc/passwd')",
    "FROM system.main.read_text('/etc/passwd')", "FROM READ_TEXT('/etc/passwd')", 'FROM "read_text"(\'/etc/passwd\')',
    "FROM read_csv('x')", "FROM read_blob('lake/run.lock')", "FROM read_json('x')", "FROM glob('/home/*')",
    "FROM read_parquet('http://127.0.0.1/x')", "FROM parquet_metadata('x')", "FROM sniff_csv('x')", "FROM read_duckdb('x')",
    "FROM json_execute_serialized_sql('{}')", "FROM duckdb_settings()", "FROM duckdb_secrets()", "FROM which_secret('s3://x', 's3')",
    "FROM duckdb_logs", "FROM pragma_storage_info('pairs')", "FROM seq_scan('pairs')", "FROM arrow_scan(1, 2, 3)",
    "FROM pandas_scan(1)", "FROM python_map_function()", "FROM test_all_types()",
    "SELECT * FROM range(3) AS t(a), LATERAL (SELECT * FROM read_text(t.a::VARCHAR))",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))", "SELECT EXISTS (FROM read_text('/etc/passwd'))",
    "WITH x AS (FROM read_text('/etc/passwd')) FROM x", "WITH x AS MATERIALIZED (FROM glob('*')) SELECT 1",
    "WITH RECURSIVE x AS (SELECT 1 UNION ALL (SELECT size FROM read_blob('x'))) FROM x",
    "SELECT 1 UNION ALL SELECT size FROM read_text('x')", "SELECT 1 ORDER BY (SELECT size FROM read_text('x'))",
    "SELECT 1 LIMIT (SELECT size FROM read_text('x'))", "FROM range((SELECT size FROM read_text('x')))",
    "SELECT list_transform([1], lambda x: getvariable('v'))", "SELECT count(*) FILTER (getvariable('x')) FROM pairs",
    "SELECT sum(1) OVER (PARTITION BY current_setting('x')) FROM pairs", "FROM pairs QUALIFY current_setting('a') = 'b'",
    "PIVOT (FROM read_csv('x')) ON a IN (1) USING count(*)", "UNPIVOT (FROM read_csv('x')) ON COLUMNS(*)",
    "FROM pairs POSITIONAL JOIN read_csv('x')", "FROM pairs AT (VERSION => (SELECT size FROM read_text('x')))",
    "SELECT COLUMNS(lambda c: getvariable(c)) FROM pairs", "VALUES (getvariable('x'))", "DESCRIBE FROM read_csv('x')",
    "SUMMARIZE FROM read_csv('x')", "FROM (DESCRIBE FROM read_csv('x'))", "SELECT CASE WHEN getvariable('x') THEN 1 END",
    "SELECT getvariable('x')", "SELECT current_setting('s3_secret_access_key')", "SELECT write_log('x')", "SELECT getenv('HOME')",
    "SELECT ('x').getvariable()", "SELECT json_serialize_plan('FROM read_csv(''x'')')", "SELECT nextval('s')", "SELECT sleep_ms(1)",
    "SELECT __internal_decompress_string(1)", "SELECT finalize('x')", "SELECT txid_current()", "SELECT pg_sleep(1)",
]  # fmt: skip
TABLES = [
    "FROM '/etc/passwd'", "FROM 'x.csv'", "FROM 'lake/data/main/pairs/x.parquet'", 'FROM "x.json"', "FROM 'http://a/b.parquet'",
    "FROM 's3://bucket/x.parquet'", "DESCRIBE 'x.csv'", "SUMMARIZE 'x.csv'", "TABLE 'x.csv'", "SELECT EXISTS (FROM 'x.csv')",
    "FROM information_schema.tables", "FROM pg_catalog.pg_class", "FROM sqlite_master", "FROM duckdb_settings", "FROM duckdb_secrets",
    "FROM pragma_database_list", "FROM __ducklake_metadata_lake.ducklake_data_file", "FROM memory.main.x", "FROM temp.main.pairs",
    "FROM system.main.duckdb_settings", "FROM other.pairs", "FROM ducklake_metadata", "SHOW VARIABLES", "SHOW DATABASES",
    "SHOW memory_limit", "SHOW SETTINGS", "FROM (SHOW DATABASES)",
    'WITH "x.csv" AS (SELECT 1) FROM "x.csv"', 'SELECT (WITH "a/b" AS (SELECT 1) SELECT 1), (SELECT count(*) FROM "a/b")',
    "WITH x AS (SELECT 1) FROM other.x", "SELECT (WITH duckdb_databases AS (SELECT 1) SELECT 1), (SELECT count(*) FROM duckdb_databases)",
    "WITH sqlite_master AS (SELECT 1) FROM sqlite_master", "FROM preference_rows('/etc/passwd', 'x', 0.1)", "FROM preference_rows('x.csv', 'x', 0.1)",
    "FROM preference_rows('duckdb_settings', 'x', 0.1)", "FROM preference_rows($file, 'x', 0.1)",
    "FROM preference_rows(chosen_pairs := 'pairs', of_class := 'x', held_out := 0.1)",
    "FROM preference_rows('pairs', 'x', 0.1, chosen_pairs := '/etc/passwd')", "FROM preference_rows('a' || 'b', 'x', 0.1)",
    "FROM preference_rows((SELECT 'x.csv'), 'x', 0.1)",
]  # fmt: skip
HARMLESS = [
    "FROM pairs", "FROM lake.pairs", "FROM lake.main.pairs", "FROM main.pairs", "TABLE pairs", "VALUES (1)", "SHOW TABLES",
    "SHOW ALL TABLES", "DESCRIBE pairs", "SHOW pairs", "SUMMARIZE pairs", "DESCRIBE SELECT 1", "FROM lake.snapshots()",
    "FROM pairs AT (VERSION => 3)", "FROM range(3)", "SELECT unnest([1, 2])", "FROM accepted_pairs", "FROM Accepted_Pairs",
    "FROM answers('run', NULL, NULL)", "FROM preference_rows('pairs', 'x', 0.1)", "SELECT render('{prompt}', MAP {'prompt': 'a'})",
    "WITH best AS (FROM pairs) FROM preference_rows('best', 'x', 0.1)", "SELECT recipe->'stages'->>'judge' FROM runs",
    "SELECT row_number() OVER (ORDER BY pair_id), sum(1) OVER () FROM pairs QUALIFY rank() OVER () = 1",
    "PIVOT pairs ON source IN ('a') USING count(*)", "UNPIVOT pairs ON COLUMNS(lambda c: c = 'source')",
    "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 5) FROM t", "SELECT text.upper() FROM responses",
    "SELECT count(*) FILTER (similarity > 0.5), any_value(source ORDER BY pair_id), list(source) FROM pairs GROUP BY ALL",
    "SELECT a.* EXCLUDE (pair_id), COLUMNS('similar.*') FROM pairs AS a ORDER BY ALL LIMIT 10%", "SELECT 'a'::VARCHAR, 1::DECIMAL(3, 1)",
    "SELECT 'a' LIKE '%b', 'a' NOT ILIKE 'b', 1 BETWEEN 0 AND 2, x IN (1, 2), [1, 2][1], {'a': 1}.a, -1, NOT true FROM range(1) AS t(x)",
    "SELECT [x * 2 FOR x IN [1, 2]], list_filter([1], lambda x: x > 0), regexp_matches('a', 'b'), strftime(now(), '%Y'), 1 // 2",
    "SELECT e.key FROM runs, json_each(recipe) AS e", "FROM pairs TABLESAMPLE 10%", "SELECT likeness('a', 'b')",
    "FROM pairs AS a ASOF JOIN pairs AS b ON a.pair_id >= b.pair_id", "SELECT current_date, coalesce(NULL, 1), if(true, 1, 2)",
    "SELECT source, count(*) FROM pairs GROUP BY GROUPING SETS ((source), ())", "FROM pairs SEMI JOIN trees USING (tree_id)",
]  # fmt: skip


@pytest.mark.parametrize("query", [*STATEMENTS, *FUNCTIONS, *TABLES])
def test_what_could_do_more_than_read_the_lake_is_refused(query: str) -> None:
    with pytest.raises(
        FactoryError, match=r"^the query( may not|, |: | is refused| reads| contains| is not valid SQL: A CTE)"
    ):
        check(query, KNOWN)


@pytest.mark.parametrize("query", HARMLESS)
def test_what_reads_the_lake_passes(query: str) -> None:
    check(query, KNOWN.and_those(Known(macros=frozenset({"likeness"}))))


def test_our_own_queries_pass_and_are_steady() -> None:
    for text in (*map(training_set_sql, known_training_sets()), *map(pairing_sql, known_pairings())):
        checked = check(text, KNOWN)
        assert checked.ordered and not checked.unsteady


def test_a_query_says_whether_its_rows_have_an_order_and_are_the_same_each_time() -> None:
    assert check("WITH a AS (FROM pairs) FROM a ORDER BY pair_id", KNOWN).ordered
    assert check("FROM pairs UNION ALL FROM pairs ORDER BY pair_id", KNOWN).ordered
    assert not check("FROM (FROM pairs ORDER BY pair_id)", KNOWN).ordered
    for query in (
        "SELECT random()",
        "SELECT now()",
        "SELECT current_timestamp",
        "SELECT uuid()",
        "FROM pairs USING SAMPLE 3",
    ):
        assert check(query, KNOWN).unsteady
    assert not check("FROM pairs TABLESAMPLE reservoir(3 ROWS) REPEATABLE (1)", KNOWN).unsteady
    assert check("SELECT $a, $b + $a", KNOWN).parameters == {"a", "b"}


def test_deep_nesting_ends_in_a_sentence() -> None:
    for query in (f"SELECT {'(' * 900}1{')' * 900}", "SELECT " + "1+" * 5_000 + "1", "SELECT " + "[" * 300 + "]" * 300):
        try:
            check(query, KNOWN)
        except FactoryError as error:
            assert "nested too deeply" in str(error) or "not valid SQL" in str(error)


def test_every_allowed_function_is_one_of_this_duckdb_and_those_that_act_are_not_among_them() -> None:
    asked = "SELECT function_name, function_type FROM duckdb_functions() WHERE internal"
    with duckdb.connect() as connection:
        there = {name.lower(): kind for name, kind in connection.execute(asked).fetchall()}
        acting = connection.execute("SELECT function_name FROM duckdb_functions() WHERE has_side_effects").fetchall()
    written_by_the_parser = {
        "->",
        "coalesce",
        "contains",
        "count_star",
        "list_value",
        "map",
        "row",
        "struct_pack",
        "unnest",
    }
    assert allowed_functions() - written_by_the_parser <= there.keys()
    only_chance = {"error", "gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"}
    assert {name for (name,) in acting} & allowed_functions() == only_chance
    assert not [
        name for name in allowed_functions() if re.match("read_|sqlite_|postgres_|ducklake_|duckdb_|pragma_|__", name)
    ]


# Definitions that a lake brings along


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TEMP VIEW x AS SELECT 1; COPY (SELECT 1) TO 'x.csv'",
        "LOAD './x.duckdb_extension'",
        "CREATE VIEW pairs AS SELECT 1",
        "CREATE TEMP TABLE x AS FROM pairs",
        "CREATE OR REPLACE TEMP VIEW x AS SELECT 1",
        "CREATE TEMP VIEW pairs AS FROM read_text('/etc/passwd')",
        "CREATE TEMP VIEW pairs AS FROM '/etc/passwd'",
        "CREATE TEMP MACRO f(a) AS TABLE FROM read_text(a)",
        "CREATE TEMP MACRO f(a) AS TABLE FROM query_table(a)",
        "CREATE TEMP MACRO preference_rows(a) AS TABLE FROM query_table('/etc/passwd')",
        "CREATE TEMP MACRO preference_rows(a, b) AS TABLE FROM query_table(b)",
        "CREATE TEMP MACRO f(a) AS TABLE FROM preference_rows(a, 'x', 0.1)",
        "CREATE TEMP MACRO f(a) AS getvariable(a)",
        "CREATE TEMP MACRO f(a) AS (SELECT content FROM read_text(a))",
        "CREATE TEMP MACRO f(a) AS 1, (a, b) AS getvariable(a)",
        "CREATE TEMP MACRO f(a, b := getvariable('x')) AS a",
        # A query that calls `read_text` would pass by this name, and may reach DuckDB's.
        "CREATE TEMP MACRO read_text(a) AS 1",
        "CREATE TEMP MACRO sqlite_scan(a, b) AS TABLE SELECT 1",
        "CREATE TEMP MACRO main.f(a) AS 1",
        'CREATE TEMP VIEW "a.csv" AS SELECT 1',
    ],
)
def test_definitions_that_could_do_more_than_read_are_refused(text: str) -> None:
    with pytest.raises(FactoryError):
        check_definitions(read_definitions(text, "the views"), Known(), TAKEN, "the views")


def test_a_definition_is_written_anew_and_means_the_same() -> None:
    text = """-- a comment; with a semicolon
    CREATE TEMP MACRO twice(a) AS -- another;
      a * 2;
    CREATE TEMP VIEW v AS SELECT twice(21) AS answer, ';' AS mark; CREATE TEMP MACRO t(n) AS TABLE FROM range(n);"""
    definitions = read_definitions(text, "the views")
    with duckdb.connect() as connection:
        check_definitions(definitions, Known(), names_of_functions(connection), "the views")
        for definition in definitions:
            connection.execute(definition.statement())
        assert connection.execute("FROM v").fetchall() == [(42, ";")]
        assert connection.execute("FROM t(2)").fetchall() == [(0,), (1,)]


@pytest.mark.parametrize(
    "text", ["1), (2", "1) FROM read_text('x'", "1 FROM pairs", "getvariable('x')", "1; DELETE FROM pairs"]
)
def test_an_expression_is_one_harmless_expression(text: str) -> None:
    with pytest.raises(FactoryError):
        check_expression(text, KNOWN, "a default")
