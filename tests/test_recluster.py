"""Stripes that are sorted together: fewer of them have a segment, and nothing else changes."""

import re

import pytest

from harness import process, settings, twins

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="only columnar tables have stripes")

ROWS = settings.size(24_000, 600_000)
LIMIT = ROWS // 12
HOSTS = 40
COLUMNS = "id bigint PRIMARY KEY, host text, time timestamptz, amount numeric(10, 2), note text"
#: As they come from many devices: all hosts at each time.
SOURCE = f"""SELECT i AS id, 'host ' || i % {HOSTS}, timestamptz '2024-01-01' + i / {HOSTS} * interval '1 s',
    (i % 977) / 4.0, CASE WHEN i % 10 > 0 THEN repeat('n', i % 30) END FROM generate_series({{}}, {{}}) i"""
ORDER = "segment_by => 'host', order_by => 'time DESC'"


@pytest.fixture(name="cursor")
def cursor_on_twins(server, database):
    """A cursor, with the tables h_t and c_t that have a dozen stripes of all hosts."""
    connection = server.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("SET orochi.row_store_rows = 0")
        twins.create(cursor, "t", COLUMNS, ["CREATE INDEX ON {} (host, time)"])
        options(cursor, f"{ORDER}, stripe_row_limit => {LIMIT}")
        for start in range(1, ROWS, LIMIT):
            for table in ("h_t", "c_t"):
                cursor.execute(f"INSERT INTO {table} {SOURCE.format(start, start + LIMIT - 1)}")
        cursor.execute("CALL orochi.columnar_compact('c_t')")
        yield cursor
    connection.close()


def options(cursor, arguments, table="c_t"):
    """Sets options of a table."""
    cursor.execute(f"SELECT orochi.columnar_set_options('{table}', {arguments})")


def value(cursor, sql):
    """The one value that a query returns."""
    cursor.execute(sql)
    return cursor.fetchone()[0]


def stripes(cursor):
    """First and last row number of each stripe."""
    cursor.execute("SELECT first_row, last_row FROM orochi.columnar_stripes('c_t') ORDER BY 1, 2")
    return [tuple(map(int, row)) for row in cursor.fetchall()]


def stripes_with_a_host(cursor):
    """How many stripes a scan for a host cannot leave out by their zone maps."""
    cursor.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0")
    cursor.execute("EXPLAIN (ANALYZE, TIMING off) SELECT count(*), sum(amount) FROM c_t WHERE host = 'host 7'")
    text = "\n".join(line for line, in cursor.fetchall())
    cursor.execute("RESET ALL; SET orochi.row_store_rows = 0")
    return int(re.search(r"Stripes Read: (\d+)", text)[1])


def _places(cursor):
    cursor.execute("SELECT id, ctid FROM c_t WHERE id % 1013 = 5")
    return cursor.fetchall()


def check_places(cursor):
    """Some rows are found where a scan says that they are."""
    for number, place in _places(cursor):
        assert value(cursor, f"SELECT id FROM c_t WHERE ctid = '{place}'") == number


def equal(cursor):
    """The tables hold the same rows, by scan and by index; no check finds fault."""
    assert twins.difference(cursor, "t") is None
    cursor.execute("SET enable_seqscan = off; SET orochi.enable_columnar_scan = off")
    for condition in ("id BETWEEN 100 AND 400", "host = 'host 7' AND time < '2024-01-01 00:05'", f"id % 1009 = 1 AND id < {ROWS}"):
        found = []
        for table in ("h_t", "c_t"):
            cursor.execute(f"SELECT * FROM {table} WHERE {condition}")
            found.append(sorted(cursor.fetchall()))
        assert found[0] == found[1] != []
    cursor.execute("RESET enable_seqscan; RESET orochi.enable_columnar_scan")
    cursor.execute("SELECT * FROM orochi.columnar_check('c_t')")
    assert cursor.fetchall() == []


def test_neighbours_are_sorted_together_once(cursor):
    """Rows keep their numbers, whoever looks for a host reads fewer stripes, and a second compaction finds nothing to do."""
    before = stripes_with_a_host(cursor)
    old_places = _places(cursor)
    options(cursor, "recluster_stripes => 4")
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    assert (before, stripes_with_a_host(cursor)) == (12, 3)
    assert sorted(_places(cursor)) == sorted(old_places)
    check_places(cursor)
    equal(cursor)
    done = stripes(cursor)
    assert len(done) == 12 and value(cursor, "SELECT sum(rows) FROM orochi.columnar_stripes('c_t')") == str(ROWS)
    written = "SELECT array_agg(stripe ORDER BY stripe)::text FROM orochi.columnar_stripes('c_t')"
    numbers = value(cursor, written)
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    assert value(cursor, written) == numbers


def test_changes_before_and_after(cursor):
    """Deleted and updated rows, a snapshot from before, and rows that are loaded later."""
    for table in ("h_t", "c_t"):
        cursor.execute(f"DELETE FROM {table} WHERE id % 7 = 3; UPDATE {table} SET amount = -amount, time = time + interval '1 day' WHERE id % 11 = 5")
    options(cursor, "recluster_stripes => 64")
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    equal(cursor)
    for table in ("h_t", "c_t"):
        cursor.execute(f"DELETE FROM {table} WHERE id % 5 = 1; UPDATE {table} SET note = 'again' WHERE host = 'host 9'")
        cursor.execute(f"INSERT INTO {table} {SOURCE.format(ROWS + 1, ROWS * 2)}")
    equal(cursor)
    for statement in ("CALL orochi.columnar_compact('c_t')", "VACUUM c_t", "CALL orochi.columnar_compact('c_t')", "VACUUM FULL c_t"):
        cursor.execute(statement)
        equal(cursor)


def test_old_snapshots_and_rollback(server, database, cursor):
    """Who began before sees what was there; a step that is rolled back leaves no trace."""
    before = stripes(cursor)
    options(cursor, "recluster_stripes => 6")
    reader = server.connect(database, autocommit=False)
    with reader.cursor() as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*), sum(id), sum(amount) FROM c_t")
        seen = old.fetchone()
        # From here on the background mover may do the same.
        cursor.execute("BEGIN; SELECT orochi.columnar_compact_step('c_t')")
        assert stripes(cursor) != before
        cursor.execute("ROLLBACK")
        equal(cursor)
        cursor.execute("CALL orochi.columnar_compact('c_t')")
        assert stripes(cursor) != before
        cursor.execute("DELETE FROM c_t WHERE id % 2 = 0")
        old.execute("SELECT count(*), sum(id), sum(amount) FROM c_t")
        assert old.fetchone() == seen
    reader.close()
    cursor.execute("DELETE FROM h_t WHERE id % 2 = 0")
    equal(cursor)


def test_stripes_far_apart(cursor):
    """Stripes whose row numbers lie more than a thousand virtual blocks apart keep being found by row number."""
    for start in (ROWS * 2, ROWS * 3):
        for table in ("h_t", "c_t"):
            cursor.execute(f"INSERT INTO {table} {SOURCE.format(start + 1, start + LIMIT)}")
        cursor.execute("BEGIN; INSERT INTO c_t (id) SELECT -i FROM generate_series(1, 320000) i; ROLLBACK")
    options(cursor, "recluster_stripes => 14")
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    spans = [last - first for first, last in stripes(cursor)]
    assert max(spans) > 1024 * 291, spans
    equal(cursor)
    check_places(cursor)


def test_what_has_an_order_is_left_alone(cursor):
    """Stripes that follow one another in the order of the table have nothing to gain, and tables that do not ask for it neither."""
    before = stripes(cursor)
    cursor.execute("CALL orochi.columnar_compact('c_t')")
    assert stripes(cursor) == before
    for order in ("time, id", "id", "note"):
        cursor.execute("DROP TABLE IF EXISTS ordered")
        cursor.execute("CREATE TABLE ordered (LIKE c_t) USING columnar")
        options(cursor, f"order_by => '{order}', stripe_row_limit => {LIMIT}, recluster_stripes => 4", table="ordered")
        # Equal notes all over: rows with the same key in several stripes are in order, too.
        note = "'same'" if order == "note" else "note"
        cursor.execute(f"INSERT INTO ordered SELECT id, host, time, amount, {note} FROM h_t ORDER BY id")
        cursor.execute("CALL orochi.columnar_compact('ordered')")
        cursor.execute("SELECT bool_and(last_row - first_row = rows - 1) FROM orochi.columnar_stripes('ordered')")
        assert cursor.fetchone()[0], order


def test_the_mover_does_it_in_the_background(make_server):
    """Without being told, and says so in its metrics; a new policy begins anew."""
    server = make_server(config={"orochi.mover_naptime_ms": "50"}, name="recluster")
    server.create_database("mover")
    connection = server.connect("mover")
    with connection.cursor() as cursor:
        cursor.execute(f"SET orochi.row_store_rows = 0; CREATE TABLE c_t ({COLUMNS}) USING columnar")
        options(cursor, f"{ORDER}, stripe_row_limit => {LIMIT}, recluster_stripes => 4")
        for start in range(1, ROWS, LIMIT):
            cursor.execute(f"INSERT INTO c_t {SOURCE.format(start, start + LIMIT - 1)}")
        done = "SELECT value::int FROM orochi.metrics() WHERE name = 'reclusterings_total'"
        process.wait_until(lambda: int(value(cursor, done)) >= 3, 30, "three groups are sorted together", 0.1)
        assert value(cursor, "SELECT count(*) FROM c_t") == str(ROWS)
        assert stripes_with_a_host(cursor) <= 3
    connection.close()
