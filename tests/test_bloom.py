"""Bloom filters skip stripes that do not have a value, and never one that has it."""

import re

import pytest

from harness import settings, twins
from harness.session import perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="only columnar tables have filters")

ROWS = settings.size(30_000, 500_000)
STRIPES = ROWS // 1000
COLUMNS = "id bigint, trace text, price numeric, code char(9), uid uuid, small int2, at timestamptz, indexed int, plain text"
#: Values without any order, so that zone maps say nothing.
SOURCE = f"""SELECT n AS id, 'trace ' || md5(n::text) AS trace, n * 1.5 AS price, 'c' || n AS code, md5((-n)::text)::uuid AS uid,
    (n % 30000)::int2 AS small, timestamptz '2024-01-01' + n * interval '1 second' AS at, n::int AS indexed, md5(n::text) AS plain
    FROM (SELECT i::bigint * 7919 % {ROWS} AS n FROM generate_series(1, {ROWS}) i) s"""


@pytest.fixture(name="cursor")
def cursor_on_twins(server, database):
    """A cursor, with the tables h_t and c_t, of which c_t has filters."""
    connection = server.connect(database)
    with connection.cursor() as cursor:
        twins.create(cursor, "t", COLUMNS, ["CREATE INDEX ON {} (indexed)"])
        cursor.execute("SELECT orochi.columnar_set_options('c_t', stripe_row_limit => 1000,"
                       " bloom_filter => 'trace, price, code, uid, small, at')")
        cursor.execute("SET orochi.row_store_rows = 0")
        for table in ("h_t", "c_t"):
            cursor.execute(f"INSERT INTO {table} {SOURCE}")
        cursor.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0")
        yield cursor
    connection.close()


def skipped(cursor, condition):
    """Rows are those of the heap; returns how many stripes only the filters skipped, and how many were read."""
    found = []
    for table in ("h_t", "c_t"):
        cursor.execute(f"SELECT * FROM {table} WHERE {condition} ORDER BY id")
        found.append(cursor.fetchall())
    assert found[0] == found[1], condition
    cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM c_t WHERE {condition}")
    text = "\n".join(row[0] for row in cursor.fetchall())
    figure = lambda name: int(re.search(rf"{name}: (\d+)", text)[1]) if name in text else 0
    return figure("Stripes Skipped by Bloom Filter"), figure("Stripes Read")


EQUALITIES = [
    "trace = 'trace ' || md5('77')", "trace = 'nowhere'", "price = 1500", "price = 1500.000", "price = -1", "price = 'NaN'",
    "code = 'c77'", "code = 'c77   '::char(12)", "code = 'nothing'", "uid = md5('-5')::uuid", "small = 77", "small = 77::int8",
    "at = '2024-01-01 00:10:00'", "at = '2024-01-01 00:10:00.5'", "indexed = 4711", "indexed = 4711::int8", "indexed = -1::int2",
    "trace IN ('trace ' || md5('1'), 'trace ' || md5('2'), NULL)", "trace = ANY ('{}')", "uid = ANY (ARRAY[md5('-5')::uuid, md5('x')::uuid])",
    "price = ANY ('{1.50, 3}')", "trace = 'trace ' || md5('77') AND price = 1",
]


def test_conditions(cursor):
    """Equality that few stripes meet leaves few to read; what is no equality with a value, or of a column without a filter, is left to others."""
    for condition in EQUALITIES:
        by_filter, read = skipped(cursor, condition)
        assert by_filter + read <= STRIPES + 1 and read <= STRIPES / 6 + 1, (condition, by_filter, read)
    for condition in ("trace > 'trace 5'", "plain = md5('77')", "trace = plain", "price <> 3", "trace IS NULL"):
        assert skipped(cursor, condition)[0] == 0, condition


def test_parameters_and_changes(cursor):
    """Each execution of a generic plan asks for its own value; rows that changed since are found."""
    cursor.execute("SET plan_cache_mode = force_generic_plan")
    for table in ("h_t", "c_t"):
        cursor.execute(f"UPDATE {table} SET trace = 'changed', price = 0.50 WHERE id % 1000 = 7")
        cursor.execute(f"DELETE FROM {table} WHERE id % 1000 = 8")
        cursor.execute(f"PREPARE p_{table} (text, numeric) AS SELECT id FROM {table} WHERE trace = $1 OR false AND price = $2 ORDER BY 1")
    values = ("'changed'", "'trace ' || md5('7')", "'trace ' || md5('8')", "'trace ' || md5('9')", "NULL")
    for value in values:
        found = []
        for table in ("h_t", "c_t"):
            cursor.execute(f"EXECUTE p_{table} ({value}, 1)")
            found.append(cursor.fetchall())
        assert found[0] == found[1], value
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    assert skipped(cursor, "trace = 'trace ' || md5('77')")[0] > 0
    assert skipped(cursor, "price = 0.5")[1] > 0
    assert twins.difference(cursor, "t") is None
    cursor.execute("SELECT count(*) FROM orochi.columnar_check('c_t')")
    assert cursor.fetchone()[0] == "0"


def test_options(cursor):
    """A column may segment a table and have a filter; types without one are refused; the list follows the columns."""
    cursor.execute("SELECT orochi.columnar_set_options('c_t', segment_by => 'code', order_by => 'at', bloom_filter => 'code, at, uid')")
    cursor.execute("SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0] == "stripe_row_limit=1000, segment_by=(code), order_by=(at), bloom_filter=(code, at, uid)"
    cursor.execute("ALTER TABLE c_t RENAME code TO marking; ALTER TABLE c_t DROP uid; SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0] == "stripe_row_limit=1000, segment_by=(marking), order_by=(at), bloom_filter=(marking, at)"
    cursor.execute("SELECT orochi.columnar_set_options('c_t', segment_by => ''); SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0] == "stripe_row_limit=1000, order_by=(at), bloom_filter=(marking, at)"
    cursor.execute("ALTER TABLE c_t ADD wide float8")
    outcome = perform(cursor.connection, "SELECT orochi.columnar_set_options('c_t', bloom_filter => 'wide')")
    assert outcome.error[0] == "22023" and "without a Bloom filter" in outcome.error[2]
    outcome = perform(cursor.connection, "SECURITY LABEL FOR orochi ON COLUMN c_t.at IS 'bloom_filter=1, bloom_filter=2'")
    assert outcome.error[0] == "22023"
    cursor.execute("SELECT orochi.columnar_set_options('c_t', reset => true); SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0] == ""
