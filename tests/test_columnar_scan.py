"""The columnar scan returns what a row-by-row scan returns, reads no column in vain, and skips what it can."""

import json
import random
import threading

import pytest

from harness import process, settings
from harness.session import perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="the node scans columnar tables only")

ROWS = settings.size(30_000, 400_000)
QUERIES = settings.size(120, 5_000)

COLUMNS = """id int8, small int2, whole int4, big int8, real4 float4, real8 float8, flag bool, day date,
             moment timestamptz, number oid, cash money, label text, late int4, price numeric(12, 2), loose numeric, plain text COLLATE "C",
             padded char(12), tag varchar(20), raw bytea, uid uuid, letters text"""

#: How each column's value follows from the row number i and a random number.
VALUES = """i, (i % 300)::int2, i * 7 - 50000, (i - 1000)::int8 * 1000000007, (i / 10.0)::float4,
            CASE WHEN i % 997 = 0 THEN 'NaN' WHEN i % 991 = 0 THEN '-0' ELSE i / 3.0 END::float8, i > 20000,
            date '2020-01-01' + i / 50, timestamptz '2020-01-01' + i * interval '1 minute', i::oid, (i % 500)::money,
            'label ' || i, CASE WHEN i > 25000 THEN i END, (i - 500) / 7.0,
            CASE i % 1000 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' WHEN 3 THEN 1e40 WHEN 4 THEN NULL
                ELSE (i - 20000) * 1.5 END::numeric,
            lpad((i / 3)::text, 7, '0'), 'p' || i / 40, CASE WHEN i % 50 > 0 THEN 'tag ' || i % 90 END,
            decode(lpad(to_hex(i / 2), 8, '0'), 'hex'), rpad(lpad(to_hex(i), 8, '0'), 32, '0')::uuid, chr(97 + i / 1300 % 26) || repeat('x', i % 200)"""

PARALLEL = {"parallel_setup_cost": 0, "parallel_tuple_cost": 0, "min_parallel_table_scan_size": 0,
            "max_parallel_workers_per_gather": 2}


def literal(r, column):
    """A value near the column's, of its own type or of one that compares with it."""
    i = r.choice((0, 1, ROWS, r.randrange(ROWS), r.randrange(ROWS)))
    integer = r.choice(("int2", "int4", "int8"))
    real = r.choice(("float4", "float8"))
    return {
        "id": f"{i}::{r.choice(('int4', 'int8'))}",
        "small": f"{i % 310}::{integer}",
        "whole": f"{i * 7 - 50000}::{r.choice(('int4', 'int8'))}",
        "big": f"{(i - 1000) * 1000000007}::int8",
        "real4": f"{i / 10}::{real}",
        "real8": r.choice((f"{i / 3}::float8", f"{i / 3}::float4", "'NaN'::float8", "'-0'::float4", "'Infinity'::float8")),
        "flag": r.choice(("true", "false")),
        "day": r.choice((f"date '2020-01-01' + {i // 50}", f"timestamp '2020-01-01' + {i // 50} * interval '1 day'", "'infinity'::date")),
        "moment": r.choice((f"timestamptz '2020-01-01' + {i} * interval '1 minute'", "'-infinity'::timestamptz")),
        "number": f"{i}::oid",
        "cash": f"{i % 510}::money",
        "label": f"'label {i}'",
        "late": f"{i}::{integer}" if i < 32768 else f"{i}::int4",
        "price": r.choice((f"{(i - 500) / 7:.2f}", f"{(i - 500) / 7:.3f}", f"{i - 500}::numeric / 7", "'NaN'::numeric")),
        "loose": r.choice((f"{(i - 20000) * 1.5}", f"{i}::numeric", "'NaN'::numeric", "'Infinity'::numeric", "1e40", "0.0")),
        "plain": r.choice((f"'{i // 3:07d}'", f"'{i // 3:06d}'", "''")),
        "padded": r.choice((f"'p{i // 40}'", f"'p{i // 40}   '", f"'p{i // 40}'::char(30)")),
        "tag": r.choice((f"'tag {i % 95}'", f"'tag {i % 95}'::varchar", f"'tag {i % 95}'::varchar(5)")),
        "raw": f"decode('{i // 2:08x}', 'hex')",
        "uid": f"'{i:08x}{'0' * 24}'::uuid",
        "letters": f"'{chr(97 + i // 1300 % 26)}{'x' * (i % 200)}'",
    }[column]


def clause(r):
    """One condition, true, false or null for different rows."""
    column = r.choice(("id", "small", "whole", "big", "real4", "real8", "flag", "day", "moment", "number", "cash", "late",
                       "price", "loose", "plain", "padded", "tag", "raw", "uid", "letters", "label"))
    operator = r.choice(("=", "<", "<=", ">", ">=", "<>"))
    value = literal(r, column)
    kind = r.random()
    if kind < 0.45:
        return f"{column} {operator} {value}"
    if kind < 0.55:
        return f"{value} {operator} {column}"
    if kind < 0.65:
        return f"{column} BETWEEN {value} AND {literal(r, column)}"
    if kind < 0.75 and column not in ("real8", "day"):
        return f"{column} IN ({value}, {literal(r, column)}, NULL)"
    if kind < 0.82:
        return f"{column} IS {r.choice(('', 'NOT '))}NULL"
    if kind < 0.86:
        return r.choice(("flag", "NOT flag", "flag IS NOT TRUE"))
    if kind < 0.92:
        return f"{column} {operator} (SELECT {value})"
    if kind < 0.95:
        return f"{column} = NULL"
    return f"NOT ({column} {operator} {value} AND id > 10)"


def query(r):
    """A query over some columns."""
    columns = r.sample(("id", "small", "whole", "real8", "flag", "day", "label", "late", "price", "loose", "padded", "tag", "uid"),
                       r.randrange(1, 5))
    condition = " AND ".join(clause(r) for _ in range(r.randrange(1, 4)))
    aggregates = ", ".join(f"count({column}), min({column}::text)" for column in columns)
    shape = r.random()
    if shape < 0.5:
        return f"SELECT {aggregates}, count(*) FROM t WHERE {condition}"
    if shape < 0.65:
        return f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM t WHERE {condition}"
    if shape < 0.75:
        return f"SELECT count(*), count(DISTINCT ctid), min(tableoid::text) FROM t WHERE {condition}"
    if shape < 0.9:
        return (f"SELECT v, n FROM (VALUES ({literal(r, 'id')}), ({literal(r, 'id')}), (NULL)) d (v), LATERAL"
                f" (SELECT count(*) AS n FROM t WHERE id >= v AND {condition} OFFSET 0) s ORDER BY 1, 2")
    return f"SELECT {', '.join(columns)} FROM t WHERE {condition} ORDER BY id LIMIT 5"


@pytest.fixture(name="session")
def session_with_table(server, database):
    """A session in a database with the table t: stripes, loose rows, deleted and updated rows, an added column."""
    session = server.connect(database)
    with session.cursor() as cursor:
        cursor.execute(f"CREATE TABLE t ({COLUMNS}) USING columnar")
        # An option of the table, so that the mover has nothing to merge.
        cursor.execute("SELECT orochi.columnar_set_options('t'::regclass, stripe_row_limit => 5000); SET orochi.row_store_rows = 0")
        cursor.execute(f"INSERT INTO t SELECT {VALUES} FROM generate_series(1, {ROWS}) i")
        cursor.execute("INSERT INTO t (id) SELECT NULL FROM generate_series(1, 3000)")
        cursor.execute("SET orochi.row_store_rows = 1000000")
        cursor.execute(f"INSERT INTO t SELECT {VALUES} FROM generate_series(100, 200) i")
        cursor.execute("DELETE FROM t WHERE id % 13 = 5; UPDATE t SET late = -id WHERE id % 1009 = 0")
        cursor.execute("ALTER TABLE t ADD COLUMN extra int4 DEFAULT 5")
        cursor.execute("ANALYZE t")
    yield session
    session.close()


def plan(session, sql):
    """The columnar scan in the plan of an executed query."""
    with session.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) {sql}")
        found = []
        todo = [json.loads(cursor.fetchone()[0])[0]["Plan"]]
        while todo:
            node = todo.pop()
            todo += node.get("Plans", [])
            if node.get("Custom Plan Provider") == "ColumnarScan":
                found.append(node)
    assert len(found) == 1, f"{sql}: {len(found)} columnar scans"
    return found[0]


def configure(session, values):
    """Sets parameters of the session."""
    for name, value in values.items():
        assert perform(session, f"SET {name} = {value}").error is None


@pytest.mark.parametrize("workers", ({}, PARALLEL), ids=("alone", "parallel"))
def test_same_rows(session, workers):
    """Random queries, with the node and without."""
    configure(session, workers)
    r = random.Random(f"{settings.SEED}/scan")
    for _ in range(QUERIES):
        sql = query(r)
        outcomes = []
        for enabled in ("off", "on"):
            configure(session, {"orochi.enable_columnar_scan": enabled})
            outcomes.append(perform(session, sql))
        off, on = outcomes
        assert (off.error, off.rows) == (on.error, on.rows), f"OROCHI_SEED={settings.SEED}\n{sql}\noff: {off}\non: {on}"


def test_skips(session):
    """Stripes and vectors outside the range stay unread, whatever way the bound is written."""
    for condition in ("id < 100", "100 > id", "id BETWEEN 1 AND 99", "id = ANY (ARRAY[3, 99, NULL])", "id < 100::int2",
                      "id < (SELECT 100)", "real4 < 9.9::float8", "price < -60", "price BETWEEN -70 AND -60.5", "plain < '0000030'",
                      "plain = '0000030'", "padded = 'p1  '", "uid < '00000050-0000-0000-0000-000000000000'", "letters = 'a'",
                      "raw <= decode('00000010', 'hex')"):
        node = plan(session, f"SELECT sum(whole) FROM t WHERE {condition}")
        assert node["Stripes Skipped"] > node["Stripes Read"], f"{condition}: {node}"
        assert node["Vectors Skipped"] >= 1, f"{condition}: {node}"
        assert "Zone-Map Filter" in node
    assert plan(session, "SELECT count(*) FROM t WHERE id + 0 < 10")["Stripes Skipped"] == 0
    assert plan(session, "SELECT count(*) FROM t WHERE late IS NOT NULL AND small = 7")["Stripes Skipped"] > 0
    for condition in ("day = timestamp '2020-01-03'", "day < timestamp '2020-01-03 12:00'", "timestamp '2020-01-03' >= day"):
        assert plan(session, f"SELECT count(*) FROM t WHERE {condition}")["Stripes Skipped"] > 0, condition
    # The session's time zone decides which moment a day is.
    assert plan(session, "SELECT count(*) FROM t WHERE day = timestamptz '2020-01-03'")["Stripes Skipped"] == 0


def test_leaves_rows_out(session):
    """Rows of a vector that is read are left out where keys decide: PostgreSQL's filter sees those of the row store, and what keys only bound."""
    for condition, rows in (("id = 77", 150), ("price = -60.00", 150), ("uid = '00000050-0000-0000-0000-000000000000'", 150), ("tag = 'tag 7'", 5000)):
        node = plan(session, f"SELECT sum(whole) FROM t WHERE {condition}")
        assert node["Rows Skipped"] > 500, f"{condition}: {node}"
        assert node.get("Rows Removed by Filter", 0) <= rows, f"{condition}: {node}"


def test_columns(session):
    """Only columns that the query names are read."""
    assert plan(session, "SELECT count(*) FROM t")["Columns"] == "0 of 22"
    assert plan(session, "SELECT sum(whole) FROM t WHERE flag")["Columns"] == "2 of 22"
    assert plan(session, "SELECT count(t) FROM t")["Columns"] == "22 of 22"
    assert plan(session, "SELECT max(extra), max(ctid) FROM t")["Columns"] == "1 of 22"


def test_parallel(session):
    """Workers share the scan: together they read each stripe once, and EXPLAIN adds up what they did."""
    sql = "SELECT count(*), sum(whole) FROM t WHERE id > 1000"
    alone = plan(session, sql)
    expected = perform(session, sql).rows
    configure(session, PARALLEL)
    shared = plan(session, sql)
    assert shared["Parallel Aware"]
    for figure in ("Stripes Read", "Stripes Skipped", "Vectors Read", "Vectors Skipped", "Rows Skipped"):
        assert shared[figure] == alone[figure], figure
    assert perform(session, sql).rows == expected


def test_parameters(session):
    """A generic plan skips by the value of each execution."""
    assert perform(session, "SET plan_cache_mode = force_generic_plan").error is None
    assert perform(session, "PREPARE q (int8) AS SELECT count(*) FROM t WHERE id <= $1").error is None
    counts = [perform(session, f"EXECUTE q ({n})").rows[0][0] for n in ("10", "NULL", "0", str(ROWS))]
    configure(session, {"orochi.enable_columnar_scan": "off"})
    assert perform(session, "DEALLOCATE q; PREPARE q (int8) AS SELECT count(*) FROM t WHERE id <= $1").error is None
    assert counts == [perform(session, f"EXECUTE q ({n})").rows[0][0] for n in ("10", "NULL", "0", str(ROWS))]


def test_cursor_backwards(session):
    """A scrollable cursor goes both ways, and WHERE CURRENT OF finds its row."""
    for sql in ("BEGIN", "DECLARE c SCROLL CURSOR FOR SELECT id FROM t WHERE id < 3000 OR id > 20000"):
        assert perform(session, sql).error is None
    forward = perform(session, "FETCH ALL FROM c").rows
    backward = perform(session, "FETCH BACKWARD ALL FROM c").rows
    assert len(forward) > 1000 and backward == forward[::-1]
    assert perform(session, "COMMIT").error is None
    for sql in ("BEGIN", "DECLARE d CURSOR FOR SELECT id FROM t WHERE id = 77 FOR UPDATE", "FETCH d"):
        assert perform(session, sql).error is None
    assert perform(session, "DELETE FROM t WHERE CURRENT OF d").status == "DELETE 1"
    assert perform(session, "ROLLBACK").error is None


def test_update_after_wait(server, database, session):
    """A row that changed while UPDATE waited for it is checked again, with the columns that the scan left out."""
    other = server.connect(database, autocommit=False)
    with other.cursor() as cursor:
        cursor.execute("UPDATE t SET whole = -1, label = 'new' WHERE id = 700")
    waiting = server.connect(database, name="waiting")
    done = []
    thread = threading.Thread(target=lambda: done.append(perform(
        waiting, "UPDATE t SET late = whole FROM (VALUES (700)) v (k) WHERE id = k AND id < 800 RETURNING label, late")))
    thread.start()
    waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'waiting' AND wait_event_type = 'Lock'"
    process.wait_until(lambda: perform(session, waits).rows, 60, "UPDATE waits for the row")
    other.commit()
    thread.join()
    assert done[0].rows == [("new", "-1")]
    waiting.close()
    other.close()


def test_parallel_bitmap_scans(session):
    """Leader and workers of a bitmap scan agree that nothing is to be read ahead, in a session's first statement and in the next."""
    configure(session, {**PARALLEL, "min_parallel_index_scan_size": 0, "enable_seqscan": "off", "enable_indexscan": "off",
                        "enable_indexonlyscan": "off", "orochi.enable_columnar_scan": "off"})
    assert perform(session, "CREATE INDEX ON t (id)").error is None
    sql = f"SELECT count(*), sum(whole) FROM t WHERE id BETWEEN 100 AND {ROWS // 2}"
    lines = "\n".join(row[0] for row in perform(session, f"EXPLAIN {sql}").rows)
    assert "Parallel Bitmap Heap Scan" in lines, lines
    found = [perform(session, sql).rows for _ in range(5)]
    configure(session, {"enable_seqscan": "on", "enable_bitmapscan": "off", "max_parallel_workers_per_gather": 0})
    assert found == [perform(session, sql).rows] * 5
