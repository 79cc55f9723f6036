"""What the tests of the vectorised nodes have in common: a table as a heap and as a columnar one, plans, time and memory that run out."""

import json
import threading
import time

import psycopg2

from . import settings
from .session import ok, perform

ROWS = settings.size(60_000, 1_000_000)
PARALLEL = {"parallel_setup_cost": 0, "parallel_tuple_cost": 0, "min_parallel_table_scan_size": 0, "max_parallel_workers_per_gather": 2}
#: So little memory that files are needed.
SMALL = {"work_mem": "'64kB'", "hash_mem_multiplier": 1, "max_parallel_workers_per_gather": 0}


def make_tables(session):
    """Makes the table v, and h, the same as a heap: stripes, loose rows, deleted ones."""
    for name, method in (("v", "columnar"), ("h", "heap")):
        ok(session, f"CREATE TABLE {name} (id int8, k int4, t text, n numeric(10, 2), f float8, d date, loose text COLLATE \"C\") USING {method}")
        ok(session, f"""INSERT INTO {name} SELECT i, i * 7919 % {ROWS}, 'some text that takes room ' || i % 3001, i % 10000 / 100.0, i / 7.0,
                        date '2020-01-01' + i % 365, 'x' || i % 50 FROM generate_series(1, {ROWS}) i""")
        if method == "columnar":
            ok(session, f"CALL orochi.columnar_compact('{name}')")
        ok(session, f"INSERT INTO {name} SELECT -i, i, 'loose', 1.25, 0.5, date '2019-01-01', NULL FROM generate_series(1, 500) i")
        ok(session, f"DELETE FROM {name} WHERE id % 17 = 3; ANALYZE {name}")
    ok(session, "SET max_parallel_workers_per_gather = 0")


def configure(session, values):
    """Sets parameters of the session."""
    for name, value in values.items():
        ok(session, f"SET {name} = {value}")


def nodes(session, sql, analyze=False):
    """The nodes of a plan as dictionaries, the topmost first."""
    options = "ANALYZE, TIMING OFF, SUMMARY OFF, " if analyze else ""
    found, todo = [], [json.loads(ok(session, f"EXPLAIN ({options}COSTS OFF, FORMAT JSON) {sql}")[0][0])[0]["Plan"]]
    while todo:
        node = todo.pop(0)
        found.append(node)
        todo += node.get("Plans", [])
    return found


def metric(session, name):
    """Value of one of Orochi's metrics."""
    return float(ok(session, f"SELECT value FROM orochi.metrics() WHERE name = '{name}'")[0][0])


def check_no_files(session):
    """No temporary file is left."""
    assert ok(session, "SELECT count(*) FROM pg_ls_tmpdir()")[0][0] == "0"


def check_timeouts(session, sql, ways):
    """A query ends within its time, wherever it is then, and leaves no files."""
    for values in ways:
        configure(session, values)
        for timeout in (1, 5, 20, 60):
            ok(session, f"SET statement_timeout = {timeout}")
            start = time.monotonic()
            outcome = perform(session, sql)
            seconds = time.monotonic() - start
            assert outcome.error is None or outcome.error[0] == "57014", outcome
            # Generous, for other work of the machine counts.
            assert outcome.error is None or seconds < timeout / 1000 + 2
        ok(session, "RESET statement_timeout")
    check_no_files(session)


def check_cancel(server, database, session, sql, expected):
    """Cancelling a query leaves nothing behind, and the session goes on."""
    other = server.connect(database)
    pid = ok(session, "SELECT pg_backend_pid()")[0][0]
    for number in range(5):
        timer = threading.Timer(0.01 * 2 ** number, lambda: ok(other, f"SELECT pg_cancel_backend({pid})"))
        timer.start()
        try:
            outcome = perform(session, sql)
            assert outcome.error is None or outcome.error[0] == "57014", outcome
        finally:
            timer.join()
        try:
            ok(session, "SELECT 1")
        except (AssertionError, psycopg2.Error):
            ok(session, "SELECT 1")  # the request came late, and hit this one
    assert ok(session, sql) == expected
    check_no_files(other)
    other.close()


def check_rights(server, database, session, statements, vectorized):
    """Functions that a user may not call are not called for him. `statements` have a place for the table v or h; `vectorized` says whether the
    node meant is in a plan."""
    ok(session, "DROP ROLE IF EXISTS counter; CREATE ROLE counter LOGIN; GRANT SELECT ON v, h TO counter")
    other = server.connect(database, user="counter")
    try:
        for sql in statements:
            assert vectorized(session, sql.format("v")), sql
            expected, found = perform(other, sql.format("h")), perform(other, sql.format("v"))
            assert expected.error[0] == "42501" and found.error == expected.error, f"{sql}: {expected} {found}"
        assert ok(other, "SELECT max(k), sum(n) FROM v") == ok(other, "SELECT max(k), sum(n) FROM h")
    finally:
        other.close()
        ok(session, "DROP OWNED BY counter; DROP ROLE counter")


def check_changed_row(server, database, session, subquery):
    """A subquery, of the table v or h and the row h0, gives the same for a row that another transaction has changed meanwhile (EvalPlanQual)."""
    ok(session, "CREATE TABLE h0 (id int8, k int4, result numeric)")
    first, second = server.connect(database), server.connect(database)
    found = []
    for table in ("h", "v"):
        ok(session, "TRUNCATE h0; INSERT INTO h0 VALUES (1, 5, 0)")
        ok(first, "BEGIN; UPDATE h0 SET k = 7")
        waiting = threading.Thread(target=ok, args=(second, f"UPDATE h0 SET result = ({subquery.format(table)})"))
        waiting.start()
        while ok(session, f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {second.info.backend_pid}")[0][0] != "Lock":
            time.sleep(0.01)
        ok(first, "COMMIT")
        waiting.join()
        found.append(ok(session, "SELECT k, result FROM h0"))
    first.close()
    second.close()
    assert found[0] == found[1] and found[0][0][0] == "7", found
