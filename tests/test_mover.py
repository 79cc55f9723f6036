"""The background mover beside trouble: a table that fails, one that is locked, one that an old snapshot holds back."""

import threading

import psycopg2
import pytest

from harness import process, settings, twins
from test_faults import damage

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="a heap has no mover")

_CONFIG = {"orochi.mover_naptime_ms": "50", "autovacuum": "off"}
_FILL = "SET orochi.row_store_rows = 1000000; INSERT INTO {} SELECT i FROM generate_series(1, 20000) i; RESET orochi.row_store_rows"


@pytest.fixture
def server(make_server):
    """A server whose mover is running."""
    server = make_server(config=_CONFIG, name="mover")
    server.create_database("mover")
    return server


def _metric(server, name):
    """Value of a metric."""
    return float(server.scalar(f"SELECT value FROM orochi.metrics() WHERE name = '{name}'", database="mover"))


def _moved(server, rows):
    process.wait_until(lambda: _metric(server, "rows_moved_total") >= rows, 60, f"{rows} rows are moved", 0.1)


def test_a_table_that_fails_does_not_stop_the_others(server):
    """The error is logged, counted and shown; tables after the damaged one are moved; health() names it and goes on."""
    server.psql("CREATE TABLE a (i int) USING columnar; CREATE TABLE b (i int) USING columnar; SELECT 1", database="mover")
    server.psql("INSERT INTO a VALUES (1); CHECKPOINT", database="mover")
    path = server.data / server.scalar("SELECT pg_relation_filepath('a')", database="mover")

    def other_version(content):
        content[28:30] = (999).to_bytes(2, "little")
    damage(server, path, other_version)
    server.psql(_FILL.format("b"), database="mover")
    _moved(server, 20000)
    process.wait_until(lambda: _metric(server, "mover_errors_total") >= 1, 20, "the error is counted", 0.1)
    rows = server.query("""SELECT status, object FROM orochi.health() WHERE "check" = 'columnar table'""", database="mover")
    assert [tuple(row) for row in rows] == [("fail", "table a")]
    assert server.scalar("SELECT count(*) FROM orochi.workers() WHERE last_error LIKE '%table \"a\"%'", database="mover") == "1"


def test_a_locked_table_is_moved_afterwards(server):
    """A table that was busy is not taken for one without work."""
    server.psql("CREATE TABLE t (i int) USING columnar", database="mover")
    blocker = server.connect("mover", autocommit=False)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
    server.psql(_FILL.format("t"), database="mover")
    runs = _metric(server, "rows_moved_total")
    blocker.rollback()
    _moved(server, runs + 20000)
    blocker.close()


def test_small_stripes_are_merged_under_steady_load(server):
    """Passes that always find new rows do not keep stripes from being merged."""
    server.configure({"orochi.mover_batch_rows": "1000"})
    server.reload()
    server.psql("CREATE TABLE t (i int) USING columnar", database="mover")
    connection = server.connect("mover")
    with connection.cursor() as cursor:
        for _ in range(60):
            cursor.execute("INSERT INTO t SELECT i FROM generate_series(1, 1000) i")
            cursor.execute("SELECT pg_sleep(0.05)")
    connection.close()
    assert _metric(server, "merges_total") >= 2
    assert server.scalar("SELECT count(*) FROM t", database="mover") == "60000"


def test_a_compaction_ends_while_others_write(make_server):
    """What was there when it began is in full stripes; what others load, delete and lock meanwhile does not keep it from ending."""
    server = make_server(config={"orochi.mover_enabled": "off", "autovacuum": "off"}, name="goal")
    server.create_database("goal")
    server.psql("CREATE TABLE t (i bigint PRIMARY KEY, s text) USING columnar; SELECT orochi.columnar_set_options('t', stripe_row_limit => 5000)",
                database="goal")
    server.psql("SET orochi.row_store_rows = 1000000; INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 20000) i", database="goal")
    stopping, failures, written = threading.Event(), [], []

    def write(number):
        connection = server.connect("goal")
        with connection.cursor() as cursor:
            first = number * 10**9
            while not stopping.is_set():
                first += 300
                try:
                    cursor.execute("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(%s, %s) i", (first, first + 299))
                    cursor.execute("DELETE FROM t WHERE i IN (SELECT 1 + floor(random() * 20000)::int FROM generate_series(1, 20))")
                    cursor.execute("SELECT * FROM t WHERE i BETWEEN %s AND %s FOR UPDATE", (number * 100, number * 100 + 20))
                    written.append(300)
                except psycopg2.Error as error:
                    failures.append(error)
                    return
        connection.close()

    writers = [threading.Thread(target=write, args=(number,), daemon=True) for number in (1, 2, 3)]
    for writer in writers:
        writer.start()
    try:
        # The longest time is there for a compaction that does not end.
        server.psql("SET statement_timeout = '100s'; CALL orochi.columnar_compact('t')", database="goal")
        assert all(writer.is_alive() for writer in writers) and not failures, failures
    finally:
        stopping.set()
        for writer in writers:
            writer.join(60)
    old = "SELECT count(*) FROM t WHERE i <= 20000"
    in_stripes = int(server.scalar("SELECT sum(rows - deleted) FROM orochi.columnar_stripes('t')", database="goal"))
    assert in_stripes >= int(server.scalar(old, database="goal")) > 0
    server.psql("CALL orochi.columnar_compact('t')", database="goal")
    rows = server.query("SELECT count(*), count(DISTINCT i), count(*) FILTER (WHERE i > 20000) FROM t", database="goal")[0]
    assert rows[0] == rows[1] and int(rows[2]) == sum(written), (rows, sum(written))
    # A stripe that has lost no more than a twentieth of its rows is left as it is.
    stored = int(server.scalar("SELECT sum(rows - deleted) FROM orochi.columnar_stripes('t')", database="goal"))
    assert 0 <= stored - int(rows[0]) <= stored / 20, (stored, rows)


def test_stripes_are_written_anew_in_proportion(make_server):
    """A handful of rows, added or deleted, does not cost the bytes of a large stripe; an eighth or a twentieth of them does. No row is lost, and rows that
    are deleted go into the stripe's delete bitmap until then."""
    server = make_server(config={"orochi.mover_enabled": "off", "autovacuum": "off"}, name="proportion")
    server.create_database("proportion")
    connection = server.connect("proportion")
    with connection.cursor() as cursor:
        twins.create(cursor, "p", "i int, s text")
        cursor.execute("SET orochi.row_store_rows = 0")
        stripes = _after(cursor, _insert(1, 30000))
        assert [rows for _, rows, _ in stripes] == [30000]
        large = stripes[0]
        cursor.execute("RESET orochi.row_store_rows")
        for first in (30001, 30101, 30201):
            stripes = _after(cursor, _insert(first, first + 99))
            assert stripes == [large, (stripes[1][0], first + 99 - 30000, 0)]
        small = stripes[1]
        stripes = _after(cursor, "DELETE FROM {} WHERE i <= 1500")
        assert [found[1:] for found in stripes] == [(30000, 1500), small[1:]] and stripes[1] == small
        stripes = _after(cursor, "DELETE FROM {} WHERE i = 1501")
        assert [rows for _, rows, _ in stripes] == [28499, 300] and stripes[1] == small
        stripes = _after(cursor, _insert(40001, 45000))
        assert [rows for _, rows, _ in stripes] == [28499 + 300 + 5000]
    connection.close()


def test_files_shrink(make_server):
    """What lies behind rows that were deleted moves to the front, so that VACUUM cuts the file; an old snapshot sees the same rows all the while."""
    server = make_server(config={"orochi.mover_enabled": "off", "autovacuum": "off"}, name="shrink")
    server.create_database("shrink")
    connection, reader = server.connect("shrink"), server.connect("shrink", autocommit=False)
    reader.set_session(isolation_level="REPEATABLE READ")

    def pages():
        # VACUUM by itself leaves dead tuples of a few pages alone, and what they are on is not cut off.
        connection.cursor().execute("VACUUM (INDEX_CLEANUP on) c_p")
        return int(server.scalar("SELECT pg_relation_size(reltoastrelid) / 8192 FROM pg_class WHERE relname = 'c_p'", database="shrink"))

    def packed():
        return int(server.scalar("SELECT value FROM orochi.metrics() WHERE name = 'tuples_packed_total'", database="shrink"))

    with connection.cursor() as cursor:
        twins.create(cursor, "p", "i int PRIMARY KEY, s text", ["ALTER TABLE {} ALTER s SET STORAGE EXTERNAL"])
        cursor.execute("SELECT orochi.columnar_set_options('c_p', stripe_row_limit => 20000)")
        _after(cursor, _insert(1, 200_000))
        before = pages()
        # Few rows of each stripe that stays, and of each stripe behind them.
        _after(cursor, "DELETE FROM {} WHERE i <= 120000 OR i % 7000 = 0")
        with reader.cursor() as old:
            old.execute(twins.compare_sql("p"))
            seen = old.fetchone()
            assert seen[0] == seen[1] and pages() > 0.9 * before
            _after(cursor, "DELETE FROM {} WHERE i % 9000 = 0")
            assert packed() > 0
            for setting in ("on", "off"):
                old.execute(f"SET enable_seqscan = {setting}")
                old.execute(twins.compare_sql("p"))
                assert old.fetchone() == seen
        reader.rollback()
        pages()
        # The marks that the old snapshot held back, and what lay behind them.
        twins.compact(cursor, "c_p")
        after = pages()
        assert twins.difference(cursor, "p") is None
        cursor.execute("SELECT count(*) FROM orochi.columnar_check('c_p')")
        assert cursor.fetchone() == ("0",)
    assert after < 0.5 * before, (before, after)
    twins.assert_index_agrees(server, "p", "i", "shrink")
    connection.close()
    reader.close()


def _insert(first, last):
    return f"INSERT INTO {{}} SELECT i, md5(i::text) FROM generate_series({first}, {last}) i"


def _after(cursor, statement):
    """The stripes of table c_p, with rows and rows deleted, after a statement on the pair and a compaction."""
    for prefix in ("h", "c"):
        cursor.execute(statement.format(f"{prefix}_p"))
    twins.compact(cursor, "c_p")
    assert twins.difference(cursor, "p") is None
    cursor.execute("SELECT stripe, rows, deleted FROM orochi.columnar_stripes('c_p') ORDER BY first_row")
    return [tuple(map(int, row)) for row in cursor.fetchall()]


@pytest.mark.parametrize("form", ["ALL TABLES", "TABLES IN SCHEMA public", "TABLE root", "TABLE later"])
def test_publications_that_bring_columnar_tables_in(server, form):
    """health() warns of them, however the tables came to be published."""
    server.psql("CREATE TABLE root (i int) PARTITION BY LIST (i); CREATE TABLE leaf PARTITION OF root DEFAULT USING columnar;"
                " CREATE TABLE later (i int)", database="mover")
    server.psql(f"CREATE PUBLICATION p FOR {form}; ALTER TABLE later SET ACCESS METHOD columnar", database="mover")
    rows = server.query("""SELECT object FROM orochi.health() WHERE "check" = 'publication' AND status = 'warn'""", database="mover")
    assert [tuple(row) for row in rows] == [('publication "p"',)]


def test_options_go_with_the_access_method(server):
    """A table that becomes a heap keeps no options that pg_dump would write and a restore refuse."""
    server.psql("CREATE TABLE t (i int) USING columnar; SELECT orochi.columnar_set_options('t'::regclass, compression => 'zstd');"
                " ALTER TABLE t SET ACCESS METHOD heap", database="mover")
    assert server.scalar("SELECT count(*) FROM pg_seclabel", database="mover") == "0"


def test_read_only_transactions_change_nothing(server):
    """Functions that write say so in PostgreSQL's words."""
    server.psql("CREATE TABLE t (i int) USING columnar", database="mover")
    for call in ("columnar_compact_step('t'::regclass)", "columnar_set_options('t'::regclass, compression => 'zstd')"):
        done = server.psql(f"BEGIN READ ONLY; SELECT orochi.{call}", database="mover", check=False)
        assert "in a read-only transaction" in done.stderr, done.stderr


def test_lookups_pass_over_what_the_mover_leaves_behind(server):
    """Each move leaves a dead stripe behind; VACUUM looks rows up one by one and must not meet all of them each time."""
    connection = server.connect("mover")
    with connection.cursor() as cursor:
        cursor.execute("SET orochi.row_store_rows = 100; CREATE TABLE t (k int PRIMARY KEY) USING columnar")
        for turn in range(150):
            cursor.execute("INSERT INTO t SELECT %s * 50 + i FROM generate_series(1, 50) i", (turn,))
            cursor.execute("CALL orochi.columnar_compact('t')")
        cursor.execute("DELETE FROM t WHERE k % 3 > 0")
        cursor.execute("CALL orochi.columnar_compact('t')")
        before = _pages(cursor)
        cursor.execute("VACUUM t")
        touched = _pages(cursor) - before
    connection.close()
    # About 25 for each of 5,000 dead rows; without regard to dead stripes it was more than 1,000.
    assert 5000 < touched < 100 * 5000, touched


def _pages(cursor):
    """Pages of the companion of table t that were touched so far."""
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute("SELECT pg_sleep(0.1)")
    cursor.execute("SELECT toast_blks_hit + toast_blks_read + tidx_blks_hit + tidx_blks_read FROM pg_statio_user_tables WHERE relname = 't'")
    return int(cursor.fetchone()[0])
