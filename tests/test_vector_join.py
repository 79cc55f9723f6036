"""Joins of batches: when they are planned, what EXPLAIN says of them, and that they keep to memory, temporary files and time that they are given.

That their results are a heap's is what basic/joins.sql, test_query_fuzz.py and test_tpch.py show.
"""

import pytest

from harness import settings
from harness.session import ok, perform
from harness.vectorized import PARALLEL, SMALL, check_cancel, check_changed_row, check_no_files, check_rights, check_timeouts, configure, make_tables, metric, nodes

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="the node joins columnar tables only")

#: A build side that takes memory, and rows without a partner on both sides.
PAIRS = "SELECT a.id, b.id AS other, a.n, b.t FROM {0} a FULL JOIN {0} b ON a.k = b.k + 100 AND a.id <> b.id"
CHECK = "SELECT count(*), count(id), count(other), sum(id), sum(other), sum(n), sum(hashtext(t)::int8) FROM ({}) j"
ON_COLUMNAR, ON_HEAP = CHECK.format(PAIRS.format("v")), CHECK.format(PAIRS.format("h"))


@pytest.fixture(name="session")
def session_with_tables(server, database):
    """A session with the table v, and h, the same as a heap."""
    session = server.connect(database)
    make_tables(session)
    yield session
    session.close()


def joins(session, sql, analyze=False):
    """Those that work on batches."""
    return [node for node in nodes(session, sql, analyze) if node.get("Custom Plan Provider") == "VectorJoin"]


def test_planned(session):
    """What is vectorised is planned so, whatever the other side."""
    for sql in ("SELECT count(*) FROM v a JOIN v b ON a.id = b.id", "SELECT count(*) FROM v JOIN h ON v.id = h.id", "SELECT count(*) FROM h LEFT JOIN v USING (id)",
                "SELECT * FROM v a JOIN (SELECT d, max(n) AS n FROM h GROUP BY d) s ON a.d = s.d AND a.n < s.n",
                "SELECT * FROM v WHERE EXISTS (SELECT 1 FROM h WHERE h.t = v.t)", "SELECT * FROM h WHERE id NOT IN (SELECT 1) AND k IN (SELECT k FROM v)",
                "SELECT v.t, v.n * 2, h FROM v JOIN h ON v.k = h.k + 1 ORDER BY 1 LIMIT 3", "SELECT count(*) FROM v FULL JOIN h ON v.f = h.f"):
        assert joins(session, sql), sql


def test_not_planned(session):
    """What is not vectorised is PostgreSQL's business, and so is everything if a setting says so."""
    without = ("SELECT count(*) FROM h a JOIN h b ON a.id = b.id", "SELECT * FROM v a JOIN v b ON a.id < b.id", "SELECT * FROM v JOIN h ON v.id = h.id FOR UPDATE OF h",
               "UPDATE h SET n = v.n FROM v WHERE v.id = h.id", "SELECT * FROM v a JOIN v b ON a.id = b.id AND a.n + b.n > random()",
               "SELECT * FROM v JOIN h ON v.id = h.id WHERE v.id = 7")
    ok(session, "CREATE INDEX ON h (id); CREATE INDEX ON v (id); ANALYZE h, v")
    for sql in without:
        assert not joins(session, sql), sql
    for setting in ("orochi.enable_vectorized_execution", "enable_hashjoin"):
        configure(session, {setting: "off"})
        assert not joins(session, "SELECT count(*) FROM v a JOIN v b ON a.id = b.id")
        ok(session, f"RESET {setting}")


def test_fields_of_anonymous_rows(session):
    """A field of an anonymous row has its name in EXPLAIN, which is followed through the plan."""
    ok(session, "CREATE TEMP TABLE arcs (f int, t int) USING columnar; INSERT INTO arcs VALUES (1, 2), (2, 3)")
    paths = """WITH RECURSIVE paths(f, t) AS (SELECT * FROM arcs UNION ALL SELECT a.* FROM arcs a, paths p WHERE a.f = p.t)
               SEARCH BREADTH FIRST BY f, t SET seq SELECT f, t, seq::text FROM paths ORDER BY seq"""
    assert any('(p.seq)."*DEPTH*"' in line for line, in ok(session, f"EXPLAIN (VERBOSE) {paths}"))
    assert ok(session, paths) == [("1", "2", "(0,1,2)"), ("2", "3", "(0,2,3)"), ("2", "3", "(1,2,3)")]


def test_explain(session):
    """EXPLAIN names the conditions, and says with ANALYZE what was used."""
    found, = joins(session, "SELECT count(*) FROM v LEFT JOIN h ON v.id = h.id AND v.n > h.f", analyze=True)
    assert found["Join Type"] in ("Left", "Right") and found["Hash Cond"] in (["v.id = h.id"], ["h.id = v.id"])
    assert found["Join Filter"] == ["((v.n)::double precision > h.f)"] and found["Peak Memory Usage"] > 0 and "Batches" not in found
    count = int(ok(session, "SELECT count(*) FROM v")[0][0])
    assert found["Build Rows"] == count and found["Actual Rows"] == count


def test_spill(session):
    """A build side that takes more memory than it may goes to temporary files with the other, and comes back."""
    expected = ok(session, ON_HEAP)
    before = metric(session, "join_spill_bytes_total"), metric(session, "vector_joins_total")
    assert ok(session, ON_COLUMNAR) == expected
    assert (metric(session, "join_spill_bytes_total"), metric(session, "vector_joins_total")) == (before[0], before[1] + 1)
    configure(session, SMALL)
    found, = joins(session, ON_COLUMNAR, analyze=True)
    assert found["Batches"] > 16 and found["Disk Usage"] > 0
    # A batch may add to what has been there.
    assert found["Peak Memory Usage"] < 2048
    assert ok(session, ON_COLUMNAR) == expected
    assert metric(session, "join_spill_bytes_total") > before[0]


@pytest.mark.parametrize("memory", ("64kB", "64MB"))
@pytest.mark.parametrize("condition", ("a.k = b.k", "a.k = b.k AND a.n > b.n + 3", "a.k % 5000 = b.k % 5000 AND a.d = b.d AND a.id < b.id"))
def test_every_way(session, memory, condition):
    """Each kind of join, in memory and in files, serial and parallel."""
    statements = [f"SELECT count(*), sum(a.id), sum(b.n) FROM {{0}} a {kind} JOIN (SELECT * FROM {{0}} WHERE id % 3 > 0) b ON {condition}"
                  for kind in ("", "LEFT", "RIGHT")]
    statements += [f"SELECT count(*), sum(a.id) FROM {{0}} a WHERE {word} (SELECT 1 FROM {{0}} b WHERE b.id % 7 > 2 AND {condition})"
                   for word in ("EXISTS", "NOT EXISTS")]
    for values in ({}, PARALLEL):
        configure(session, {**values, "work_mem": f"'{memory}'", "hash_mem_multiplier": 1})
        for sql in statements:
            assert joins(session, sql.format("v")), sql
            assert ok(session, sql.format("v")) == ok(session, sql.format("h")), sql


def test_same_key(session):
    """Rows with one and the same key cannot be spread: memory has to do."""
    configure(session, SMALL)
    sql = "SELECT count(*), sum(a.n) FROM (SELECT n, id % 1 + 1 AS one FROM {0} WHERE id BETWEEN 1 AND 3000) a JOIN (SELECT id % 2 AS one FROM {0} WHERE id < 3000) b USING (one)"
    assert joins(session, sql.format("v"))
    assert ok(session, sql.format("v")) == ok(session, sql.format("h"))


def test_temp_file_limit(session):
    """The limit of temporary files holds; nothing is left of them."""
    configure(session, {**SMALL, "temp_file_limit": "'500kB'"})
    assert perform(session, ON_COLUMNAR).error[0] == "53400"
    check_no_files(session)
    ok(session, "RESET temp_file_limit")
    assert ok(session, ON_COLUMNAR) == ok(session, ON_HEAP)
    check_no_files(session)


def test_left_early(session):
    """A query that does not read all pairs leaves no files, and raises no warning."""
    configure(session, SMALL)
    ok(session, f"{PAIRS.format('v')} LIMIT 3")
    assert not session.notices
    check_no_files(session)


def test_statement_timeout(session):
    """A join ends within its time, wherever it is."""
    check_timeouts(session, ON_COLUMNAR, ({}, SMALL, PARALLEL))


def test_cancel(server, database, session):
    """Cancelling leaves nothing behind, and the session goes on."""
    configure(session, SMALL)
    check_cancel(server, database, session, ON_COLUMNAR, ok(session, ON_HEAP))


@pytest.mark.parametrize("memory", ("64kB", "4MB"))
def test_rescans(session, memory):
    """A join below a correlated subquery is made anew for each row; a build side that does not depend on it is kept."""
    configure(session, {"work_mem": f"'{memory}'", "hash_mem_multiplier": 1})
    for condition in ("a.k > x.k", "b.k > x.k", "a.id + x.id = b.id", "a.id = b.id + x.id AND a.n > x.k"):
        sql = f"""SELECT x.id, (SELECT count(*) + sum(b.k) FROM {{0}} a JOIN {{0}} b ON a.id = b.id WHERE a.d = date '2020-03-01' AND {condition})
                  FROM h x WHERE x.id BETWEEN 5 AND 12 ORDER BY 1"""
        if "= b.id" in condition:
            sql = sql.replace("ON a.id = b.id WHERE", "ON true WHERE")
        assert joins(session, sql.format("v")), sql
        assert ok(session, sql.format("v")) == ok(session, sql.format("h")), sql


def test_changed_row(server, database, session):
    """A row that is checked again because it has changed is set to what the subquery says of it then."""
    sql = "SELECT sum(x) FROM (SELECT a.id + b.id AS x FROM {0} a JOIN {0} b ON a.id = b.k WHERE a.k % 10 = h0.k ORDER BY 1 LIMIT 9) s"
    assert joins(session, f"SELECT ({sql.format('v')}) FROM (SELECT 7 AS k OFFSET 0) h0")
    check_changed_row(server, database, session, sql)


def test_rights(server, database, session):
    """Functions that a user may not call are not called for him, wherever they stand in a join."""
    ok(session, "CREATE FUNCTION twice(int4) RETURNS int4 LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN $1 * 2; END'")
    ok(session, "REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC")
    check_rights(server, database, session,
                 ("SELECT count(*) FROM {0} a JOIN {0} b ON twice(a.k) = b.k", "SELECT count(*) FROM {0} a JOIN {0} b ON a.k = b.k AND twice(a.k) > b.id",
                  "SELECT count(*) FROM {0} a LEFT JOIN {0} b ON a.k = b.k WHERE twice(a.k) > coalesce(b.id, 0)", "SELECT twice(a.k + b.k) FROM {0} a JOIN {0} b ON a.k = b.k"), joins)
