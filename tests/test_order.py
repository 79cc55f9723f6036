"""Tables with segment_by and order_by: stripes are sorted, and every row keeps its number."""

import pytest

from harness import settings, twins
from harness.session import perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="only columnar tables have an order")

ROWS = settings.size(20_000, 300_000)
SOURCE = f"""SELECT i AS id, 'host ' || (i * 7919 % 40) AS host, timestamptz '2024-01-01' + (i * 104729 % {ROWS}) * interval '1 s' AS time,
    (i % 977) / 4.0 AS amount, CASE WHEN i % 10 > 0 THEN repeat('n', i % 30) END AS note FROM generate_series(1, {ROWS}) i"""
COLUMNS = "id bigint PRIMARY KEY, host text, time timestamptz, amount numeric(10, 2), note text"


@pytest.fixture(name="cursor")
def cursor_on_twins(server, database):
    """A cursor, with the tables h_t and c_t: loaded in disorder, sorted by host and time."""
    connection = server.connect(database)
    with connection.cursor() as cursor:
        twins.create(cursor, "t", COLUMNS, ["CREATE INDEX ON {} (host, time)"])
        options(cursor, "segment_by => 'host', order_by => 'time DESC', stripe_row_limit => 6000")
        for table in ("h_t", "c_t"):
            cursor.execute(f"INSERT INTO {table} {SOURCE}")
        yield cursor
    connection.close()


def options(cursor, arguments):
    """Sets options of c_t."""
    cursor.execute(f"SELECT orochi.columnar_set_options('c_t', {arguments})")


def is_sorted(cursor, condition="true"):
    """Whether a scan that finds no more than one stripe's rows meets them in order."""
    cursor.execute(f"SELECT host, time FROM c_t WHERE {condition}")
    rows = cursor.fetchall()
    by_time = sorted(rows, key=lambda row: row[1], reverse=True)
    return rows == sorted(by_time, key=lambda row: row[0].encode())


def same(cursor, sql):
    """A statement on either table returns the same; `{}` is the table."""
    outcomes = []
    for table in ("h_t", "c_t"):
        cursor.execute(sql.replace("{}", table))
        outcomes.append(sorted(cursor.fetchall(), key=str) if cursor.description else cursor.rowcount)
    assert outcomes[0] == outcomes[1], sql
    return outcomes[0]


def equal(cursor):
    """The tables hold the same rows, by scan and by index."""
    assert twins.difference(cursor, "t") is None
    for switch in ("enable_seqscan", "orochi.enable_columnar_scan"):
        cursor.execute(f"SET {switch} = off")
    same(cursor, "SELECT * FROM {} WHERE id BETWEEN 100 AND 400")
    same(cursor, "SELECT count(*), sum(amount) FROM {} WHERE host = 'host 7'")
    cursor.execute("RESET ALL")


def test_stripes_are_sorted(cursor):
    """After compaction as well as after a load, whatever was there before."""
    cursor.execute("SET max_parallel_workers_per_gather = 0")
    cursor.execute("SELECT min(id), max(id) FROM c_t")
    equal(cursor)
    options(cursor, f"stripe_row_limit => {max(ROWS * 2, 1000)}")
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    equal(cursor)
    if ROWS < 100_000:
        assert is_sorted(cursor)


def test_every_row_keeps_its_number(cursor):
    """Whoever looks a row up by its number, its key or a bitmap finds it, before and after the mover."""
    for _ in range(2):
        cursor.execute("SELECT id, ctid FROM c_t WHERE id % 1013 = 5")
        for number, place in cursor.fetchall():
            cursor.execute("SELECT id FROM c_t WHERE ctid = %s", (place,))
            assert cursor.fetchall() == [(number,)]
        cursor.execute("SELECT count(*) FROM c_t WHERE ctid >= '(3,1)' AND ctid < '(9,1)'")
        counted = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM c_t WHERE ctid::text SIMILAR TO '\\([3-8],%'")
        assert cursor.fetchone() == counted
        cursor.execute("SET enable_seqscan = off; SET enable_indexscan = off; SET orochi.enable_columnar_scan = off")
        same(cursor, "SELECT * FROM {} WHERE host IN ('host 3', 'host 5')")
        cursor.execute("RESET ALL")
        cursor.execute("CALL orochi.columnar_compact('c_t')")


def test_changes(cursor):
    """UPDATE, DELETE, upserts, VACUUM, REINDEX and rewriting work as on a heap."""
    for statement in ("UPDATE {} SET amount = amount + 1, time = time - interval '1 day' WHERE id % 17 = 3",
                      "DELETE FROM {} WHERE host = 'host 11' OR id % 23 = 1",
                      "INSERT INTO {} SELECT i, 'host new', now(), 1, 'x' FROM generate_series(1, 3000) i ON CONFLICT (id) DO UPDATE SET note = 'again'",
                      "VACUUM {}", "ANALYZE {}", "REINDEX TABLE {}"):
        if statement.startswith(("VACUUM", "ANALYZE", "REINDEX")):
            for table in ("h_t", "c_t"):
                cursor.execute(statement.replace("{}", table))
        else:
            same(cursor, statement.replace("now()", "timestamptz '2025-01-01'"))
        equal(cursor)
    for statement in ("CALL orochi.columnar_compact('c_t')", "VACUUM FULL c_t"):
        cursor.execute(statement)
    equal(cursor)


def test_busy_rows_stay(server, database, cursor):
    """The mover sorts a batch and leaves out the rows that others hold, not those that have their places in it."""
    for table in ("h_t", "c_t"):
        cursor.execute(f"INSERT INTO {table} SELECT -i, 'host ' || (i * 31 % 17), timestamptz '2024-02-01' + i * 777 % 1000 * interval '1 s', i, NULL"
                       " FROM generate_series(1, 900) i")
    other = server.connect(database, autocommit=False)
    assert perform(other, "SELECT 1 FROM c_t WHERE id < 0 AND id % 3 = 0 FOR UPDATE").error is None
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    equal(cursor)
    other.rollback()
    other.close()
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    equal(cursor)


def test_indexes_of_all_kinds(cursor):
    """An index that is built on sorted stripes leads to what a heap's leads to."""
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    for index in ("USING brin (id)", "USING hash (host)", "(time, amount) INCLUDE (note)", "USING gin (to_tsvector('simple', host))"):
        for table in ("h_t", "c_t"):
            cursor.execute(f"CREATE INDEX CONCURRENTLY made_{table} ON {table} {index}")
        cursor.execute("SET enable_seqscan = off; SET orochi.enable_columnar_scan = off")
        for condition in ("id BETWEEN 500 AND 900", "host = 'host 21'", "time = '2024-01-01 00:01:40'",
                          "to_tsvector('simple', host) @@ to_tsquery('simple', '21')"):
            same(cursor, f"SELECT * FROM {{}} WHERE {condition}")
        cursor.execute("RESET ALL; DROP INDEX made_h_t; DROP INDEX made_c_t")


def test_rolled_back_and_nested(cursor):
    """Rows that are read while their statement runs, savepoints and rollbacks."""
    cursor.execute("SET orochi.row_store_rows = 10")
    for table in ("h_t", "c_t"):
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {table} SELECT id + 10000000, host, time, amount, note FROM {table}")
        cursor.execute(f"SAVEPOINT s; INSERT INTO {table} SELECT id + 20000000, host, time, amount, note FROM {table} WHERE id < 5000; ROLLBACK TO s")
        cursor.execute(f"SELECT count(*) FROM {table}")
        cursor.execute("COMMIT")
    equal(cursor)


def test_options_are_checked(cursor):
    """Columns that do not exist, have no order or are named twice are refused; the label is what was said."""
    def refused(arguments):
        outcome = perform(cursor.connection, f"SELECT orochi.columnar_set_options('c_t', {arguments})")
        assert outcome.error and outcome.error[0] == "22023", outcome
        return outcome.error[2]

    assert "does not exist" in refused("order_by => 'colour'")
    assert "order_by" in refused("order_by => 'time upwards'")
    assert "segment_by" in refused("segment_by => 'host DESC'")
    assert "order_by" in refused("order_by => 'time, time'")
    cursor.execute("ALTER TABLE c_t ADD COLUMN shape json")
    assert "without an order" in refused("order_by => 'shape'")
    cursor.execute("SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0] == "stripe_row_limit=6000, segment_by=(host), order_by=(time DESC)"
    options(cursor, "segment_by => '', order_by => 'time, \"id\" DESC NULLS LAST'")
    cursor.execute("SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0] == "stripe_row_limit=6000, order_by=(time, id DESC NULLS LAST)"


def test_columns_come_and_go(cursor):
    """The order follows a column that is renamed and forgets one that is dropped."""
    cursor.execute("ALTER TABLE c_t RENAME COLUMN time TO moment")
    cursor.execute("SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0].endswith("segment_by=(host), order_by=(moment DESC)")
    cursor.execute("ALTER TABLE c_t DROP COLUMN host")
    cursor.execute("SELECT orochi.columnar_options('c_t')")
    assert cursor.fetchone()[0].endswith("6000, order_by=(moment DESC)")
    cursor.execute("INSERT INTO c_t SELECT i + 50000000, timestamptz '2024-01-01', 1 FROM generate_series(1, 7000) i")
    cursor.execute("SELECT count(*), max(moment) FROM c_t WHERE id > 50000000")
    assert cursor.fetchone()[0] == "7000"
