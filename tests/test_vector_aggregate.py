"""Aggregation of batches: when it is planned, what EXPLAIN says of it, and that it keeps to memory, temporary files and time that it is given.

That its results are a heap's is what basic/aggregates.sql, test_query_fuzz.py and test_tpch.py show.
"""

import json
import threading
import time

import psycopg2
import pytest

from harness import settings
from harness.session import ok, perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="the node aggregates columnar tables only")

ROWS = settings.size(60_000, 1_000_000)
PARALLEL = {"parallel_setup_cost": 0, "parallel_tuple_cost": 0, "min_parallel_table_scan_size": 0, "max_parallel_workers_per_gather": 2}
SMALL = {"work_mem": "'64kB'", "hash_mem_multiplier": 1, "max_parallel_workers_per_gather": 0}
#: Many groups, whose keys and states take memory.
GROUPS = "SELECT k, t, count(*) AS c, sum(n) AS s, max(t) AS m FROM v GROUP BY k, t"
CHECK = "SELECT count(*), sum(c), sum(s), sum(hashtext(m)::int8), sum(k) FROM ({}) g"


@pytest.fixture(name="session")
def session_with_tables(server, database):
    """A session with the table v, and h, the same as a heap: stripes, loose rows, deleted ones."""
    session = server.connect(database)
    for name, method in (("v", "columnar"), ("h", "heap")):
        ok(session, f"CREATE TABLE {name} (id int8, k int4, t text, n numeric(10, 2), f float8, d date, loose text COLLATE \"C\") USING {method}")
        ok(session, f"""INSERT INTO {name} SELECT i, i * 7919 % {ROWS}, 'some text that takes room ' || i % 3001, i % 10000 / 100.0, i / 7.0,
                        date '2020-01-01' + i % 365, 'x' || i % 50 FROM generate_series(1, {ROWS}) i""")
        if method == "columnar":
            ok(session, f"CALL orochi.columnar_compact('{name}')")
        ok(session, f"INSERT INTO {name} SELECT -i, i, 'loose', 1.25, 0.5, date '2019-01-01', NULL FROM generate_series(1, 500) i")
        ok(session, f"DELETE FROM {name} WHERE id % 17 = 3; ANALYZE {name}")
    ok(session, "SET max_parallel_workers_per_gather = 0")
    yield session
    session.close()


def configure(session, values):
    """Sets parameters of the session."""
    for name, value in values.items():
        ok(session, f"SET {name} = {value}")


def nodes(session, sql, analyze=False):
    """The nodes of a plan as dictionaries, the topmost first."""
    options = "ANALYZE, TIMING OFF, SUMMARY OFF, " if analyze else ""
    found, todo = [], [json.loads(ok(session, f"EXPLAIN ({options}COSTS OFF, FORMAT JSON) {sql}")[0][0])[0]["Plan"]]
    while todo:
        node = todo.pop(0)
        found.append(node)
        todo += node.get("Plans", [])
    return found


def aggregations(session, sql, analyze=False):
    """Those that work on batches."""
    return [node for node in nodes(session, sql, analyze) if node.get("Custom Plan Provider") == "VectorAggregate"]


def test_planned(session):
    """What is vectorised is planned so."""
    for sql in ("SELECT count(*) FROM v", "SELECT sum(n), avg(f), min(t), max(d) FROM v WHERE k < 100", "SELECT t, count(*) FROM v GROUP BY t",
                "SELECT d + 1, upper(t), sum(k) FROM v GROUP BY 1, 2 HAVING sum(k) > 5", "SELECT count(*) FILTER (WHERE t LIKE '%1') FROM v",
                "SELECT DISTINCT d FROM v", "SELECT d, count(DISTINCT k), sum(DISTINCT n) FROM v GROUP BY d", "SELECT * FROM (SELECT d, count(*) AS c FROM v GROUP BY d) s ORDER BY c LIMIT 3",
                "SELECT (SELECT sum(n) FROM v WHERE v.k = h.k) FROM h LIMIT 3"):
        assert len(aggregations(session, sql)) == 1, sql


def test_not_planned(session):
    """What is not vectorised is PostgreSQL's business, and so is everything if the setting says so."""
    for sql in ("SELECT DISTINCT ON (d) d, k FROM v ORDER BY d, k", "SELECT string_agg(t, ',') FROM v", "SELECT d, count(*) FROM v GROUP BY ROLLUP (d)",
                "SELECT sum(random()) FROM v", "SELECT count(*) FROM h", "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f) FROM v",
                "SELECT corr(f, k) FROM v", "SELECT count(v) FROM v", "SELECT max(ctid) FROM v"):
        assert not aggregations(session, sql), sql
    configure(session, {"orochi.enable_vectorized_execution": "off"})
    assert not aggregations(session, "SELECT count(*) FROM v")


def test_explain(session):
    """EXPLAIN names the keys, and says with ANALYZE what was used."""
    found, = aggregations(session, "SELECT t, d, count(*) FROM v GROUP BY t, d", analyze=True)
    assert found["Group Key"] == ["t", "d"] and found["Peak Memory Usage"] > 0 and "Batches" not in found
    scan = nodes(session, "SELECT t, d, count(*) FROM v WHERE k % 2 = 0 GROUP BY t, d", analyze=True)[-1]
    assert scan["Custom Plan Provider"] == "ColumnarScan"
    assert scan["Rows Removed by Filter"] + scan["Actual Rows"] == int(ok(session, "SELECT count(*) FROM v")[0][0])


def test_spill(session):
    """More groups than memory may hold go to temporary files, and come back."""
    expected = ok(session, CHECK.format(GROUPS.replace("FROM v", "FROM h")))
    configure(session, SMALL)
    spilled = "SELECT value FROM orochi.metrics() WHERE name = 'aggregate_spill_bytes_total'"
    before = float(ok(session, spilled)[0][0])
    found, = aggregations(session, GROUPS, analyze=True)
    assert found["Batches"] > 16 and found["Disk Usage"] > 0
    # A batch may add to what has been there.
    assert found["Peak Memory Usage"] < 2048
    assert ok(session, CHECK.format(GROUPS)) == expected
    assert float(ok(session, spilled)[0][0]) > before


def test_temp_file_limit(session):
    """The limit of temporary files holds; nothing is left of them."""
    configure(session, {**SMALL, "temp_file_limit": "'500kB'"})
    outcome = perform(session, GROUPS)
    assert outcome.error[0] == "53400", outcome
    assert ok(session, "SELECT count(*) FROM pg_ls_tmpdir()")[0][0] == "0"
    ok(session, "RESET temp_file_limit")
    assert ok(session, CHECK.format(GROUPS)) == ok(session, CHECK.format(GROUPS.replace("FROM v", "FROM h")))
    assert ok(session, "SELECT count(*) FROM pg_ls_tmpdir()")[0][0] == "0"


@pytest.mark.parametrize("memory", ("'64kB'", "'64MB'"))
def test_parallel(session, memory):
    """Workers aggregate on their own, and their states are put together."""
    configure(session, {**PARALLEL, "work_mem": memory})
    plan = nodes(session, "SELECT d, count(*), sum(n) FROM v GROUP BY d")
    assert [node.get("Custom Plan Provider", node["Node Type"]) for node in plan] == ["VectorAggregate", "Gather", "VectorAggregate", "ColumnarScan"]
    for columns in ("count(*), sum(k), sum(n), min(t), max(d)", "round(avg(n), 10), round(stddev(f)::numeric, 4), bool_and(k > 0), count(loose)"):
        for group in ("", "GROUP BY d", "GROUP BY t", "GROUP BY loose"):
            sql = f"SELECT {columns} FROM {{}} {group} ORDER BY 1, 2, 3"
            assert ok(session, sql.format("v")) == ok(session, sql.format("h")), sql


def test_statement_timeout(session):
    """An aggregation ends within its time, wherever it is."""
    for values in ({}, SMALL, PARALLEL):
        configure(session, values)
        for timeout in (1, 5, 20, 60):
            ok(session, f"SET statement_timeout = {timeout}")
            start = time.monotonic()
            outcome = perform(session, f"SELECT count(*) FROM ({GROUPS}) g")
            seconds = time.monotonic() - start
            assert outcome.error is None or outcome.error[0] == "57014", outcome
            # Generous, for other work of the machine counts.
            assert outcome.error is None or seconds < timeout / 1000 + 2
        ok(session, "RESET statement_timeout")
    assert ok(session, "SELECT count(*) FROM pg_ls_tmpdir()")[0][0] == "0"


def test_cancel(server, database, session):
    """Cancelling leaves nothing behind, and the session goes on."""
    configure(session, SMALL)
    other = server.connect(database)
    pid = ok(session, "SELECT pg_backend_pid()")[0][0]
    for number in range(5):
        timer = threading.Timer(0.01 * 2 ** number, lambda: ok(other, f"SELECT pg_cancel_backend({pid})"))
        timer.start()
        try:
            outcome = perform(session, CHECK.format(GROUPS))
            assert outcome.error is None or outcome.error[0] == "57014", outcome
        finally:
            timer.join()
        try:
            ok(session, "SELECT 1")
        except (AssertionError, psycopg2.Error):
            ok(session, "SELECT 1")  # the request came late, and hit this one
    assert ok(session, CHECK.format(GROUPS)) == ok(session, CHECK.format(GROUPS.replace("FROM v", "FROM h")))
    assert ok(other, "SELECT count(*) FROM pg_ls_tmpdir()")[0][0] == "0"
    other.close()


def test_rescans(session):
    """A correlated subquery aggregates anew for each row."""
    sql = "SELECT h.k, (SELECT sum(v.n) FROM {0} v WHERE v.d = h.d AND v.k > h.k) FROM h WHERE h.id BETWEEN 5 AND 12 ORDER BY 1"
    assert len(aggregations(session, sql.format("v"))) == 1
    assert ok(session, sql.format("v")) == ok(session, sql.format("h"))


def test_rights(server, database, session):
    """Functions that a user may not call are not called for him: neither aggregates nor what they aggregate."""
    ok(session, "CREATE FUNCTION twice(int4) RETURNS int4 LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN $1 * 2; END'")
    ok(session, "REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_catalog.sum(int4) FROM PUBLIC")
    ok(session, "DROP ROLE IF EXISTS counter; CREATE ROLE counter LOGIN; GRANT SELECT ON v, h TO counter")
    other = server.connect(database, user="counter")
    try:
        for sql in ("SELECT max(twice(k)) FROM {}", "SELECT count(*) FROM {} WHERE twice(k) > 7", "SELECT twice(k), count(*) FROM {} GROUP BY 1",
                    "SELECT count(*) FILTER (WHERE twice(k) > 7) FROM {}", "SELECT sum(k) FROM {}"):
            assert aggregations(session, sql.format("v")), sql
            expected, found = perform(other, sql.format("h")), perform(other, sql.format("v"))
            assert expected.error[0] == "42501" and found.error == expected.error, f"{sql}: {expected} {found}"
        assert ok(other, "SELECT max(k), sum(n) FROM v") == ok(other, "SELECT max(k), sum(n) FROM h")
    finally:
        other.close()
        ok(session, "GRANT EXECUTE ON FUNCTION pg_catalog.sum(int4) TO PUBLIC; DROP OWNED BY counter; DROP ROLE counter")


def test_nothing_is_evaluated_for_no_rows(session):
    """An argument that would fail is not looked at where FILTER leaves no rows."""
    ok(session, "PREPARE q (int4) AS SELECT count(*), sum(10 / $1) FILTER (WHERE k < -5) FROM v")
    ok(session, "SET plan_cache_mode = force_generic_plan")
    assert ok(session, "EXECUTE q (0)")[0][1] is None
    assert perform(session, "SELECT sum(10 / (k - k)) FROM v").error[0] == "22012"
