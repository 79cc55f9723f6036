"""Correlated aggregates: which are planned as joins, with groups or with lateral subqueries.

That their results are a heap's is what basic/subqueries.sql, test_query_fuzz.py and test_tpch.py show.
"""

import pytest

from harness import settings
from harness.session import ok
from harness.vectorized import configure, metric

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="the planner looks for columnar tables only")

#: A subquery for each of 2,000 rows, which reads 20,000 without an index.
MANY = "SELECT count(*), sum(o.id) FROM o WHERE o.n < (SELECT avg(n) FROM v WHERE v.k = o.k)"


@pytest.fixture(name="session")
def session_with_tables(server, database):
    """A session with the columnar table v, the heap h, which is the same, and o, whose rows ask for groups."""
    session = server.connect(database)
    rows = "SELECT g AS id, g % 500 AS k, (g % 90)::numeric(8,2) AS n, g % 7 AS z, (g % 40) / 3.0::float8 AS f, 't' || g % 11 AS t FROM generate_series(1, 20000) g"
    ok(session, f"CREATE TABLE v USING columnar AS {rows}; CREATE TABLE h USING heap AS {rows}; CREATE TABLE o USING heap AS SELECT * FROM h WHERE id <= 2000; ANALYZE v, h, o")
    yield session
    session.close()


def joined(session, sql):
    """Whether a query is planned as a join, not with subplans."""
    return "SubPlan" not in str(ok(session, f"EXPLAIN {sql}"))


def test_planned(session):
    """Subqueries that give the same for all keys at once, wherever they stand."""
    for sql in (MANY, "SELECT id, (SELECT count(*) FROM v WHERE o.k = v.k AND v.z > 3) FROM o", "SELECT * FROM o WHERE (SELECT max(t) FROM v WHERE v.k = o.k AND v.z = o.z) LIKE 't%'",
                "SELECT * FROM (SELECT id, (SELECT 1 + sum(z) FROM v WHERE v.k = o.k) AS s FROM o) x WHERE s > 7", "WITH w AS MATERIALIZED (" + MANY + ") SELECT * FROM w",
                "SELECT * FROM o WHERE k IN (SELECT k FROM h WHERE n > (SELECT avg(n) FROM v WHERE v.k = h.k))", "CREATE TEMP TABLE made AS " + MANY,
                "SELECT * FROM o WHERE n > (SELECT avg(v.n) FROM v JOIN h ON v.id = h.id WHERE v.k = o.k AND h.t IN ('t1', 't2') AND h.f BETWEEN 1 AND 2 * 3)"):
        assert joined(session, sql), sql


def test_not_planned(session):
    """Subqueries that could give something else, or nothing but an error; those that are cheaper as they are; and all if the setting says so."""
    subquery = "SELECT * FROM o WHERE n < ({})"
    without = [subquery.format(f"SELECT {what} FROM v WHERE v.k = o.k") for what in ("max(10 / (z - 3))", "sum(f)", "avg(n) + o.z", "max(n) FILTER (WHERE v.z < o.z)", "sum(n + 1)", "min(v.n + o.n)")]
    without += [subquery.format(f"SELECT avg(n) FROM v WHERE {condition}") for condition in ("v.k < o.k", "v.k = o.k AND 10 / (z - 3) > 1", "v.k + 1 = o.k", "v.k = o.k OR v.k = 7", "v.k = o.k AND v.z < o.z",
                                                                                                "v.k = o.k AND random() < 2")]
    without += [subquery.format(f"SELECT {rest}") for rest in ("avg(n) FROM h WHERE h.k = o.k", "avg(n) FROM v WHERE v.k = o.k HAVING count(*) > 1", "avg(n) FROM v WHERE v.k = o.k LIMIT 0",
                                                                "n FROM v WHERE v.k = o.k ORDER BY id LIMIT 1", "avg(n) FROM v TABLESAMPLE system (50) WHERE v.k = o.k", "avg(n) FROM v WHERE v.k = o.k GROUP BY v.k")]
    without += [subquery.format("SELECT avg(n) FROM v WHERE v.k = o.k") + " FOR UPDATE", "DELETE FROM o WHERE n < (SELECT avg(n) FROM v WHERE v.k = o.k)",
                "SELECT z, sum((SELECT max(v.id) FROM v WHERE v.k = o.k)) FROM o GROUP BY z"]
    for sql in without:
        assert not joined(session, sql), sql
    configure(session, {"orochi.enable_joined_subqueries": "off"})
    assert not joined(session, MANY)


def test_form(session):
    """Groups for many rows; for few a lateral subquery, computed only for rows that other conditions leave."""
    assert any("Group Key" in line for line, in ok(session, f"EXPLAIN {MANY}"))
    few = "SELECT * FROM o WHERE id = 7 AND n < (SELECT avg(n) FROM v WHERE v.k = o.k)"
    plan = [line for line, in ok(session, f"EXPLAIN {few}")]
    assert not any("Group Key" in line or "SubPlan" in line for line in plan) and any("Nested Loop" in line for line in plan), plan
    assert ok(session, few) == ok(session, few.replace("FROM v", "FROM h v"))


def test_counted(session):
    """The metric counts plans, the result is that of the subplan."""
    before = metric(session, "joined_subqueries_total")
    result = ok(session, MANY)
    assert metric(session, "joined_subqueries_total") == before + 1
    configure(session, {"orochi.enable_joined_subqueries": "off"})
    assert ok(session, MANY) == result and metric(session, "joined_subqueries_total") == before + 1


def test_names_of_columns(session):
    """EXPLAIN and views show the query with names that can be read."""
    ok(session, f"CREATE VIEW asks AS {MANY}")
    assert "SubPlan" not in str(ok(session, "EXPLAIN (VERBOSE) SELECT * FROM asks"))
    assert "grouped" not in ok(session, "SELECT pg_get_viewdef('asks')")[0][0]


def test_generic_plans(session):
    """A prepared query is planned both ways, too, and planned again when a table has changed."""
    ok(session, "SET plan_cache_mode = force_generic_plan; PREPARE asks(int) AS SELECT count(*) FROM o WHERE z < $1 AND n < (SELECT avg(n) FROM v WHERE v.k = o.k AND v.z <> $1)")
    of = "SELECT count(*) FROM o WHERE z < {0} AND n < (SELECT avg(n) FROM h v WHERE v.k = o.k AND v.z <> {0})"
    for number in (3, 5):
        assert ok(session, f"EXECUTE asks({number})") == ok(session, of.format(number))
    assert joined(session, "EXECUTE asks(3)")
    ok(session, "ALTER TABLE v ALTER n TYPE int; ALTER TABLE h ALTER n TYPE int")
    assert ok(session, "EXECUTE asks(4)") == ok(session, of.format(4))
