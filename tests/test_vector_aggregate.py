"""Aggregation of batches: when it is planned, what EXPLAIN says of it, and that it keeps to memory, temporary files and time that it is given.

That its results are a heap's is what basic/aggregates.sql, test_query_fuzz.py and test_tpch.py show.
"""

import pytest

from harness import settings
from harness.session import ok, perform
from harness.vectorized import PARALLEL, SMALL, check_cancel, check_changed_row, check_no_files, check_rights, check_timeouts, configure, make_tables, metric, nodes

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="the node aggregates columnar tables only")

#: Many groups, whose keys and states take memory.
GROUPS = "SELECT k, t, count(*) AS c, sum(n) AS s, max(t) AS m FROM v GROUP BY k, t"
CHECK = "SELECT count(*), sum(c), sum(s), sum(hashtext(m)::int8), sum(k) FROM ({}) g"


@pytest.fixture(name="session")
def session_with_tables(server, database):
    """A session with the table v, and h, the same as a heap: stripes, loose rows, deleted ones."""
    session = server.connect(database)
    make_tables(session)
    yield session
    session.close()


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
    before = metric(session, "aggregate_spill_bytes_total")
    found, = aggregations(session, GROUPS, analyze=True)
    assert found["Batches"] > 16 and found["Disk Usage"] > 0
    # A batch may add to what has been there.
    assert found["Peak Memory Usage"] < 2048
    assert ok(session, CHECK.format(GROUPS)) == expected
    assert metric(session, "aggregate_spill_bytes_total") > before


def test_temp_file_limit(session):
    """The limit of temporary files holds; nothing is left of them."""
    configure(session, {**SMALL, "temp_file_limit": "'500kB'"})
    outcome = perform(session, GROUPS)
    assert outcome.error[0] == "53400", outcome
    check_no_files(session)
    ok(session, "RESET temp_file_limit")
    assert ok(session, CHECK.format(GROUPS)) == ok(session, CHECK.format(GROUPS.replace("FROM v", "FROM h")))
    check_no_files(session)


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


def test_left_early(session):
    """A query that does not read all groups leaves no files, and raises no warning."""
    configure(session, SMALL)
    ok(session, f"SELECT * FROM ({GROUPS}) g LIMIT 3")
    assert not session.notices
    check_no_files(session)


def test_statement_timeout(session):
    """An aggregation ends within its time, wherever it is."""
    check_timeouts(session, f"SELECT count(*) FROM ({GROUPS}) g", ({}, SMALL, PARALLEL))


def test_cancel(server, database, session):
    """Cancelling leaves nothing behind, and the session goes on."""
    configure(session, SMALL)
    check_cancel(server, database, session, CHECK.format(GROUPS), ok(session, CHECK.format(GROUPS.replace("FROM v", "FROM h"))))


def test_rescans(session):
    """A correlated subquery aggregates anew for each row."""
    sql = "SELECT h.k, (SELECT sum(v.n) FROM {0} v WHERE v.d = h.d AND v.k > h.k) FROM h WHERE h.id BETWEEN 5 AND 12 ORDER BY 1"
    assert len(aggregations(session, sql.format("v"))) == 1
    assert ok(session, sql.format("v")) == ok(session, sql.format("h"))


def test_changed_row(server, database, session):
    """A row that is checked again because it has changed is set to what the subquery says of it then."""
    sql = "SELECT sum(v.n) FROM {} v WHERE v.k % 10 = h0.k"
    assert aggregations(session, f"SELECT ({sql.format('v')}) FROM (SELECT 7 AS k OFFSET 0) h0")
    check_changed_row(server, database, session, sql)


def test_rights(server, database, session):
    """Functions that a user may not call are not called for him: neither aggregates nor what they aggregate."""
    ok(session, "CREATE FUNCTION twice(int4) RETURNS int4 LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN $1 * 2; END'")
    ok(session, "REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_catalog.sum(int4) FROM PUBLIC")
    try:
        check_rights(server, database, session,
                     ("SELECT max(twice(k)) FROM {}", "SELECT count(*) FROM {} WHERE twice(k) > 7", "SELECT twice(k), count(*) FROM {} GROUP BY 1",
                      "SELECT count(*) FILTER (WHERE twice(k) > 7) FROM {}", "SELECT sum(k) FROM {}"), aggregations)
    finally:
        ok(session, "GRANT EXECUTE ON FUNCTION pg_catalog.sum(int4) TO PUBLIC")


def test_nothing_is_evaluated_for_no_rows(session):
    """An argument that would fail is not looked at where FILTER leaves no rows."""
    ok(session, "PREPARE q (int4) AS SELECT count(*), sum(10 / $1) FILTER (WHERE k < -5) FROM v")
    ok(session, "SET plan_cache_mode = force_generic_plan")
    assert ok(session, "EXECUTE q (0)")[0][1] is None
    assert perform(session, "SELECT sum(10 / (k - k)) FROM v").error[0] == "22012"
