"""Old snapshots on a standby that does not hold the primary back: every row that they see, or an error."""

import psycopg2
import pytest

from harness import settings

ROWS = settings.size(5_000, 500_000)


@pytest.fixture
def pair(make_server, copies):
    """A primary with a table, and a standby that cancels queries at once when they conflict."""
    primary = make_server(config={"autovacuum": "off"}, name="primary")
    primary.create_database("standby")
    standby = primary.replica(config={"hot_standby_feedback": "off", "max_standby_streaming_delay": "0"})
    copies.append(standby)
    return primary, standby


def _changes(method):
    """What removes rows and then their index entries, by way of which part of the table."""
    table = f"CREATE TABLE t (id integer PRIMARY KEY, v integer) USING {method}"
    fill = f"INSERT INTO t SELECT i, 0 FROM generate_series(1, {ROWS}) i"
    compact = ["CALL orochi.columnar_compact('t')"] if method == "columnar" else []
    return {
        "row store": ([table, "SET orochi.row_store_rows = 1000000", fill], ["DELETE FROM t WHERE id > 10", "VACUUM (PROCESS_TOAST false) t"]),
        "stripes": ([table, fill, *compact], ["DELETE FROM t WHERE id > 10", "VACUUM (PROCESS_TOAST false) t"]),
        "merged stripes": ([table, fill, *compact], ["DELETE FROM t WHERE id > 10", *compact, "VACUUM (PROCESS_TOAST false) t"]),
        "killed entries": ([table, fill, *compact],
                           ["UPDATE t SET v = v + 1 WHERE id <= 10", "SET enable_seqscan = off", "SET enable_bitmapscan = off",
                            *(["UPDATE t SET v = v + 1 WHERE id <= 10", "SELECT count(v) FROM t WHERE id <= 10"] * 60)]),
    }


@pytest.mark.parametrize("case", list(_changes("heap")))
def test_old_snapshot_sees_its_rows_or_an_error(pair, case):
    """Rows found through the index are the rows of the table, or the query is cancelled as for a heap."""
    primary, standby = pair
    before, after = _changes(settings.ACCESS_METHOD)[case]

    def run(statements):
        connection = primary.connect("standby")
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.close()

    run(before)
    primary.wait_for_replay(standby)
    old = standby.connect("standby", autocommit=False)
    by_index = "SELECT count(*), sum(v) FROM t WHERE id > 0"
    with old.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(by_index)
        expected = cursor.fetchall()
        assert int(expected[0][0]) == ROWS
        run(after)
        primary.wait_for_replay(standby)
        try:
            cursor.execute(by_index)
            assert cursor.fetchall() == expected
        except psycopg2.Error as error:
            # The session may be ended before it can be told why.
            assert error.pgcode in ("40001", None), error
    old.close()
