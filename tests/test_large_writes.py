"""Spike 3: large loads under a unique index never show a duplicate, lose a row or hide a session's own row."""

import threading

import pytest

from harness import settings, twins
from harness.process import wait_until
from harness.session import ok, perform

ROWS = settings.size(20_000, 1_000_000)
SLICE = ROWS // 10
AM = settings.ACCESS_METHOD
_PARALLEL = """SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
    SET max_parallel_workers_per_gather = 3"""


@pytest.fixture
def connection(server, database):
    """A session in the test's database, in which `t` is the table under test."""
    session = server.connect(database)
    ok(session, f"CREATE TABLE t (id bigint PRIMARY KEY, v bigint, s text) USING {AM}")
    yield session
    session.close()


def in_background(session, sql):
    """Starts a statement in a thread; the list receives its outcome."""
    box = []
    thread = threading.Thread(target=lambda: box.append(perform(session, sql)), daemon=True)
    thread.start()
    return thread, box


def wait_blocked(server, session, box):
    """Waits until the session's statement waits for a lock, or is through."""
    pid = session.info.backend_pid
    sql = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: box or server.query(sql, (pid,))[0][0] == "t", 60, "the second session blocks")


def check_whole(session, expected_rows):
    """By scan and by index: as many rows as expected, and no key twice."""
    ok(session, "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off")
    scan = ok(session, "SELECT count(*), count(DISTINCT id), sum(id) FROM t")[0]
    ok(session, "RESET ALL; SET enable_seqscan = off")
    index = ok(session, "SELECT count(*), count(DISTINCT id), sum(id) FROM (SELECT id FROM t ORDER BY id) s")[0]
    ok(session, "RESET ALL")
    assert scan == index
    assert scan[:2] == (str(expected_rows),) * 2


def test_savepoints(connection):
    """Slices of a load, every third of them rolled back; the session sees exactly the others at every step."""
    ok(connection, "BEGIN")
    kept = 0
    for number in range(10):
        ok(connection, "SAVEPOINT slice")
        low = number * SLICE
        ok(connection, f"INSERT INTO t SELECT i, i, 's' || i FROM generate_series({low + 1}, {low + SLICE}) i")
        assert ok(connection, "SELECT count(*) FROM t") == [(str(kept + SLICE),)]
        assert ok(connection, f"SELECT v FROM t WHERE id = {low + SLICE}") == [(str(low + SLICE),)]
        if number % 3 == 2:
            ok(connection, "ROLLBACK TO slice")
        else:
            ok(connection, "RELEASE slice")
            kept += SLICE
        assert ok(connection, "SELECT count(*) FROM t") == [(str(kept),)]
    ok(connection, "COMMIT")
    check_whole(connection, kept)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("second", ["plain", "on conflict", "bulk on conflict"])
def test_colliding_keys(server, database, connection, end, second):
    """A second session that inserts a key of an uncommitted load waits for its end and then does the right thing."""
    other = server.connect(database)
    ok(connection, "BEGIN")
    ok(connection, f"INSERT INTO t SELECT i, 1, 'first' FROM generate_series(1, {ROWS}) i")
    key = ROWS - 7
    statement = {
        "plain": f"INSERT INTO t VALUES ({key}, 2, 'second')",
        "on conflict": f"INSERT INTO t VALUES ({key}, 2, 'second') ON CONFLICT (id) DO UPDATE SET v = t.v + 10",
        "bulk on conflict": f"INSERT INTO t SELECT i, 2, 'second' FROM generate_series({key}, {key + 5000}) i ON CONFLICT DO NOTHING",
    }[second]
    thread, box = in_background(other, statement)
    wait_blocked(server, other, box)
    assert not box, f"did not wait: {box[0]}"
    ok(connection, end)
    thread.join(120)
    error = "23505" if second == "plain" and end == "COMMIT" else None
    assert (box[0].error or [None])[0] == error
    first, added = (ROWS, 0) if end == "COMMIT" else (0, 1)
    if second == "bulk on conflict":
        added = 5001 - 8 if end == "COMMIT" else 5001
    check_whole(connection, first + added)
    expected = {"COMMIT": "11" if second == "on conflict" else "1", "ROLLBACK": "2"}[end]
    assert ok(connection, f"SELECT v FROM t WHERE id = {key}") == [(expected,)]
    other.close()


def test_two_loads_meet(server, database, connection):
    """Two sessions load overlapping ranges from opposite ends: one of them fails, or they deadlock; no key is there twice."""
    other = server.connect(database)
    half = ROWS // 2
    up = f"INSERT INTO t SELECT i, 1, 'up' FROM generate_series(1, {half + 1000}) i"
    down = f"INSERT INTO t SELECT i, 2, 'down' FROM generate_series({2 * half}, {half - 1000}, -1) i"
    threads = [in_background(connection, up), in_background(other, down)]
    for thread, _ in threads:
        thread.join(300)
    errors = [box[0].error[0] if box[0].error else None for _, box in threads]
    assert errors.count(None) == 1 and set(errors) <= {None, "23505", "40P01"}, errors
    check_whole(connection, half + 1000 if errors[0] is None else half + 1001)
    other.close()


def test_duplicates_within_a_load(connection):
    """A duplicate inside one statement is found however far apart the two rows are."""
    for first, second in ((5, 5), (1, ROWS), (ROWS // 2, ROWS)):
        outcome = perform(connection, f"INSERT INTO t SELECT CASE i WHEN {second + 1} THEN {first} ELSE i END, 0, 'd' FROM generate_series(1, {ROWS + 1}) i"
                          if second == ROWS else f"INSERT INTO t SELECT CASE i WHEN 6 THEN 5 ELSE i END, 0, 'd' FROM generate_series(1, {ROWS}) i")
        assert outcome.error and outcome.error[:2] == ("23505", "t_pkey"), outcome
        check_whole(connection, 0)
    ok(connection, f"INSERT INTO t SELECT (i % {ROWS}), i, 'd' FROM generate_series(1, {ROWS * 2}) i ON CONFLICT DO NOTHING")
    check_whole(connection, ROWS)


def test_cursor_opened_before(connection):
    """A cursor sees the table as of its opening although its own transaction fills the table further."""
    ok(connection, "INSERT INTO t SELECT i, 0, 'old' FROM generate_series(1, 3000) i")
    ok(connection, "BEGIN")
    ok(connection, "INSERT INTO t SELECT i, 0, 'own' FROM generate_series(3001, 6000) i")
    ok(connection, "DECLARE before NO SCROLL CURSOR FOR SELECT id FROM t")
    seen = [row[0] for row in ok(connection, "FETCH 10 FROM before")]
    ok(connection, f"INSERT INTO t SELECT i, 0, 'new' FROM generate_series(6001, {ROWS}) i")
    ok(connection, "UPDATE t SET v = 1 WHERE id < 4000")
    ok(connection, "DELETE FROM t WHERE id BETWEEN 4000 AND 5000")
    seen += [row[0] for row in ok(connection, "FETCH ALL FROM before")]
    assert sorted(map(int, seen)) == list(range(1, 6001))
    assert ok(connection, "SELECT count(*), sum(v) FROM t") == [(str(ROWS - 1001), "3999")]
    ok(connection, "COMMIT")
    check_whole(connection, ROWS - 1001)


def test_modifying_cte(connection):
    """The parts of a statement with data-modifying CTEs see the table as of its start; RETURNING carries the rows."""
    rows = ok(connection, f"""
        WITH a AS (INSERT INTO t SELECT i, 0, 'a' FROM generate_series(1, {ROWS}) i RETURNING id, v),
             b AS (INSERT INTO t SELECT id + {ROWS}, v + 1, 'b' FROM a WHERE id % 2 = 0 RETURNING id)
        SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM t)""")
    assert rows == [(str(ROWS), str(ROWS // 2), "0")]
    rows = ok(connection, """
        WITH gone AS (DELETE FROM t WHERE v = 1 RETURNING id), changed AS (UPDATE t SET v = 5 WHERE v = 0 RETURNING id)
        SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM changed), (SELECT sum(v) FROM t)""")
    assert rows == [(str(ROWS // 2), str(ROWS), str(ROWS // 2))]
    check_whole(connection, ROWS)


def test_function_reads_what_is_being_filled(connection):
    """A function called for each row of a load sees every row before it, by scan, by index and in parallel plans."""
    rows = settings.size(2500, 20_000)
    ok(connection, _PARALLEL)
    ok(connection, """
        CREATE FUNCTION look(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE n bigint; previous bigint;
        BEGIN
          IF i % 97 = 0 THEN
            SELECT count(*) INTO n FROM t;
            IF n <> i - 1 THEN RAISE EXCEPTION 'row % sees % rows', i, n; END IF;
          END IF;
          SELECT id INTO previous FROM t WHERE id = i - 1;
          IF i > 1 AND previous IS NULL THEN RAISE EXCEPTION 'row % does not see its predecessor', i; END IF;
          RETURN i;
        END $$""")
    ok(connection, f"INSERT INTO t SELECT i, look(i), 'f' FROM generate_series(1, {rows}::bigint) i")
    check_whole(connection, rows)


def test_function_with_exception_blocks(connection):
    """A function that writes the table, fails and catches while an outer load of the same table is under way."""
    ok(connection, """
        CREATE FUNCTION disturb(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE mine bigint;
        BEGIN
          BEGIN
            INSERT INTO t VALUES (i + 10000000, i, 'kept');
            INSERT INTO t SELECT k + i * 10000 + 20000000, k, 'undone' FROM generate_series(1, CASE WHEN i % 500 = 0 THEN 3000 ELSE 2 END) k;
            SELECT count(*) INTO mine FROM t WHERE s = 'undone';
            IF mine < 2 THEN RAISE EXCEPTION 'own rows unseen'; END IF;
            INSERT INTO t VALUES (i - 1, i, 'duplicate');
            IF i > 1 THEN RAISE EXCEPTION 'duplicate % accepted', i - 1; END IF;
          EXCEPTION WHEN unique_violation THEN
            INSERT INTO t VALUES (i + 30000000, (SELECT count(*) FROM t WHERE s = 'undone'), 'after');
          END;
          RETURN i;
        END $$""")
    rows = 2001
    ok(connection, f"INSERT INTO t SELECT i, CASE WHEN i % 50 = 0 THEN disturb(i) END, 'outer' FROM generate_series(1, {rows}::bigint) i")
    counts = dict(ok(connection, "SELECT s, count(*) FROM t GROUP BY s"))
    assert counts == {"outer": str(rows), "after": "40"}
    assert ok(connection, "SELECT sum(v) FROM t WHERE s = 'after'") == [("0",)]
    check_whole(connection, rows + 40)


def test_parallel_plans_see_own_rows(connection):
    """Workers of a parallel plan see what the leader wrote just before, in the same transaction."""
    ok(connection, _PARALLEL)
    ok(connection, "BEGIN")
    ok(connection, f"INSERT INTO t SELECT i, i % 10, 'p' FROM generate_series(1, {ROWS}) i")
    assert ok(connection, "SELECT count(*), sum(id) FROM t") == [(str(ROWS), str(ROWS * (ROWS + 1) // 2))]
    ok(connection, "DELETE FROM t WHERE v = 3")
    ok(connection, "UPDATE t SET v = -1 WHERE v = 4")
    ok(connection, "SAVEPOINT s")
    ok(connection, f"INSERT INTO t SELECT i, 77, 'q' FROM generate_series({ROWS + 1}, {ROWS + SLICE}) i")
    assert ok(connection, "SELECT count(*) FROM t WHERE v = 77") == [(str(SLICE),)]
    ok(connection, "ROLLBACK TO s")
    assert ok(connection, "SELECT count(*) FROM t WHERE v = 77") == [("0",)]
    assert ok(connection, "SELECT v, count(*) FROM t GROUP BY v ORDER BY v::int LIMIT 2") == [("-1", str(ROWS // 10)), ("0", str(ROWS // 10))]
    ok(connection, "COMMIT")
    ok(connection, "CREATE TABLE made AS SELECT a.id FROM t a JOIN t b USING (id)")
    check_whole(connection, ROWS - ROWS // 10)


def test_loads_under_a_parallel_plan(connection):
    """While a parallel plan runs nothing can be deleted, so reservations stay; the stripes that took their place have keys of their own."""
    ok(connection, f"CREATE TABLE source USING heap AS SELECT i, md5(i::text) AS t FROM generate_series(1, {ROWS}) i")
    ok(connection, "ANALYZE source")
    ok(connection, _PARALLEL)
    assert "Gather" in str(ok(connection, "EXPLAIN SELECT * FROM source"))
    ok(connection, f"CREATE TABLE made USING {AM} AS SELECT * FROM source")
    ok(connection, f"CREATE MATERIALIZED VIEW seen USING {AM} AS SELECT * FROM source")
    for table in ("made", "seen"):
        with connection.cursor() as cursor:
            assert twins.duplicate_keys(cursor, table) == []
        ok(connection, f"REINDEX TABLE {table}")
        assert ok(connection, f"SELECT count(*), sum(i) FROM {table}") == [(str(ROWS), str(ROWS * (ROWS + 1) // 2))]


def test_many_small_statements(server, database):
    """Thousands of small statements in one transaction, mixed with loads, on both tables of a pair."""
    session = server.connect(database)
    with session.cursor() as cursor:
        twins.create(cursor, "m", "id bigint PRIMARY KEY, v int")
    ok(session, "BEGIN")
    for number in range(settings.size(300, 5000)):
        for table in ("h_m", "c_m"):
            ok(session, f"INSERT INTO {table} VALUES ({number}, 0)")
            if number % 100 == 50:
                ok(session, f"INSERT INTO {table} SELECT {number}::bigint * 1000000 + i, 1 FROM generate_series(1, 1500) i")
            if number % 7 == 0:
                ok(session, f"UPDATE {table} SET v = v + 1 WHERE id BETWEEN {number - 10} AND {number}")
    ok(session, "COMMIT")
    session.close()
    twins.assert_equal(server, "m", database)
    twins.assert_index_agrees(server, "m", "id", database)
