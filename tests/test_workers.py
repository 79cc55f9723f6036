"""Background workers: killed, stopped, in the way of DDL, beside other libraries, for roles without rights."""

import re
import signal

import psycopg2
import pytest

from harness import process, settings
from harness.session import perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="a heap has no workers")

#: A dead or stuck worker is named, and is back, within this time.
SECONDS = 10
_CONFIG = {"orochi.mover_naptime_ms": "200", "max_worker_processes": "8"}


def workers(server, database):
    """Kind, database and pid of the workers that run."""
    rows = server.query("SELECT kind, database, pid FROM orochi.workers() WHERE pid IS NOT NULL", database=database)
    return [(kind, name, int(pid)) for kind, name, pid in rows]


def worker(server, database, kind):
    """Pid of the launcher, or of the database's other worker; None when it is not there."""
    for found, name, pid in workers(server, database):
        if (found == "launcher") == (kind == "launcher") and (kind == "launcher" or name == database) and process.alive(pid):
            return pid
    return None


def unhealthy(server, database):
    """What health() finds wrong with workers."""
    return server.query("""SELECT "check", status, object, detail FROM orochi.health()
        WHERE status <> 'ok' AND concat_ws(' ', "check", object, detail) ~* 'worker|launcher|maintenance|mover'""", database=database)


@pytest.fixture
def fresh(make_server):
    """A server of the test's own, its workers running."""
    server = make_server(config=_CONFIG, name="workers")
    server.create_database("w")
    _all_running(server)
    return server


def _all_running(server, database="w", seconds=SECONDS + 10):
    for kind in ("launcher", "maintenance"):
        process.wait_until(lambda kind=kind: _try(lambda: worker(server, database, kind)), seconds, f"{kind} runs", 0.1)
    process.wait_until(lambda: not _try(lambda: unhealthy(server, database)), seconds, "workers are healthy", 0.1)


def _try(function):
    try:
        return function()
    except psycopg2.OperationalError:
        return None


def _new_worker(server, kind, old):
    def check():
        pid = _try(lambda: worker(server, "w", kind))
        return pid if pid and pid != old else None
    return process.wait_until(check, SECONDS, f"{kind} comes back", 0.1)


@pytest.mark.parametrize("kind", ["launcher", "maintenance"])
def test_killed(fresh, kind):
    """Signal 9 makes the postmaster restart all its children: the worker is back within seconds, and works."""
    old = worker(fresh, "w", kind)
    process.send(old, signal.SIGKILL)
    _new_worker(fresh, kind, old)
    _all_running(fresh)
    _mover_works(fresh)


@pytest.mark.parametrize("kind", ["launcher", "maintenance"])
def test_terminated(fresh, kind):
    """A terminated worker comes back without a restart of the server."""
    old = worker(fresh, "w", kind)
    started = fresh.scalar("SELECT pg_postmaster_start_time()")
    process.send(old, signal.SIGTERM)
    _new_worker(fresh, kind, old)
    assert fresh.scalar("SELECT pg_postmaster_start_time()") == started
    _all_running(fresh)


@pytest.mark.parametrize("kind", ["launcher", "maintenance"])
def test_stopped(fresh, kind):
    """A worker that hangs is named by health() in time and replaced."""
    old = worker(fresh, "w", kind)
    process.send(old, signal.SIGSTOP)
    try:
        process.wait_until(lambda: _named_or_replaced(fresh, kind, old), SECONDS, f"health() names the stopped {kind}", 0.05)
        process.wait_until(lambda: worker(fresh, "w", kind) not in (None, old), 2 * SECONDS, f"{kind} is replaced", 0.1)
    finally:
        process.send(old, signal.SIGCONT)
    _all_running(fresh)
    _mover_works(fresh)


def _named_or_replaced(server, kind, old):
    return unhealthy(server, "w") or worker(server, "w", kind) not in (None, old)


def _mover_works(server):
    """Rows of the row store reach stripes without anybody's help."""
    server.query("DROP TABLE IF EXISTS moved", database="w")
    server.query("CREATE TABLE moved (a int) USING columnar", database="w")
    connection = server.connect("w", options={"orochi.row_store_rows": "1000000"})
    assert perform(connection, "INSERT INTO moved SELECT generate_series(1, 20000)").error is None
    connection.close()
    sql = "SELECT coalesce(sum(value), 0) > 0 FROM orochi.metrics() WHERE name LIKE '%rows_moved_total'"
    process.wait_until(lambda: server.scalar(sql, database="w") == "t", 60, "the mover moves rows", 0.2)
    assert server.query("SELECT count(*), sum(a) FROM moved", database="w") == [("20000", "200010000")]


def test_several_databases(fresh):
    """Each database with the extension has its worker; one without has none after a while."""
    fresh.create_database("w2")
    fresh.create_database("plain", extension=False)
    _all_running(fresh, "w2")
    names = {name for _, name, _ in workers(fresh, "w")}
    assert {"w", "w2"} <= names
    process.wait_until(lambda: "plain" not in {name for _, name, _ in workers(fresh, "w")}, 30, "no worker in a database without the extension", 0.2)


def test_statements_that_need_a_database_alone(fresh):
    """CREATE DATABASE TEMPLATE, ALTER DATABASE RENAME, DROP EXTENSION, DROP DATABASE work although a worker is connected."""
    options = {"statement_timeout": "30s"}
    session = fresh.connect("postgres", options=options)
    for sql in ("CREATE DATABASE copied TEMPLATE w", "ALTER DATABASE copied RENAME TO renamed", "ALTER DATABASE renamed SET TABLESPACE pg_default"):
        outcome = perform(session, sql)
        assert outcome.error is None, f"{sql}: {outcome}"
    _all_running(fresh, "renamed")
    inside = fresh.connect("renamed", options=options)
    assert perform(inside, "DROP EXTENSION orochi").error is None
    assert perform(inside, "CREATE EXTENSION orochi").error is None
    assert perform(inside, "CREATE TABLE t (a int) USING columnar").error is None
    inside.close()
    _all_running(fresh, "renamed")
    outcome = perform(session, "DROP DATABASE renamed")
    assert outcome.error is None, outcome
    session.close()
    _all_running(fresh)


def test_few_worker_processes(make_server):
    """When max_worker_processes is too small, health() says so, and everything else works."""
    server = make_server(config={"max_worker_processes": "1"}, name="few")
    server.create_database("w")
    process.wait_until(lambda: server.query("SELECT 1 FROM orochi.health() WHERE status <> 'ok' AND concat(detail, hint) ~ 'max_worker_processes'", database="w"),
                       30, "health() names max_worker_processes", 0.2)
    server.query("CREATE TABLE t (a int) USING columnar", database="w")
    server.query("INSERT INTO t SELECT generate_series(1, 3000)", database="w")
    assert server.scalar("SELECT count(*) FROM t", database="w") == "3000"


@pytest.mark.parametrize("order", ["{}, orochi", "orochi, {}"])
def test_beside_other_libraries(make_server, installation, order):
    """Hooks are chained whichever library is loaded first."""
    others = [name for name in ("pg_stat_statements", "auto_explain") if installation.has_library(name)]
    if not others:
        pytest.skip("contrib is not installed")
    config = {"auto_explain.log_min_duration": "0", "auto_explain.log_analyze": "on", "auto_explain.log_nested_statements": "on"}
    server = make_server(config=config if "auto_explain" in others else {}, preload=order.format(", ".join(others)), name="chained")
    server.create_database("w")
    if "pg_stat_statements" in others:
        server.query("CREATE EXTENSION pg_stat_statements", database="w")
    server.query("CREATE TABLE t (a int PRIMARY KEY) USING columnar", database="w")
    server.query("INSERT INTO t SELECT generate_series(1, 5000)", database="w")
    server.query("UPDATE t SET a = -a WHERE a < 100", database="w")
    assert server.scalar("SELECT count(*) FROM t WHERE a < 0", database="w") == "99"
    if "pg_stat_statements" in others:
        calls = server.query("SELECT rows FROM pg_stat_statements WHERE query LIKE 'INSERT INTO t %'", database="w")
        assert calls == [("5000",)]
    if "auto_explain" in others:
        assert re.search(r"Query Text: UPDATE t SET", server.log_text())


def test_unprivileged_role(fresh):
    """A role without rights sees health and metrics, but no other session's errors, and changes no one's tables."""
    fresh.query("CREATE ROLE nobody LOGIN", database="w")
    fresh.query("CREATE TABLE t (a int) USING columnar", database="w")
    session = fresh.connect("w", user="nobody")
    for sql in ("SELECT * FROM orochi.health()", "SELECT * FROM orochi.metrics()", "SELECT * FROM orochi.workers()", "SELECT orochi.version()"):
        outcome = perform(session, sql)
        assert outcome.error is None, f"{sql}: {outcome}"
    assert perform(session, "SELECT count(last_error) FROM orochi.workers()").rows == [("0",)]
    for sql in ("CALL orochi.columnar_compact('t')", "SELECT * FROM t", "SET orochi.mover_enabled = off", "TRUNCATE t"):
        assert perform(session, sql).error, sql
    assert perform(session, "CALL orochi.columnar_compact('t')").error[0] == "42501"
    session.close()


def test_hot_standby(fresh, copies):
    """A replica has no mover that writes, reads columnar tables, and takes over its duties when promoted."""
    fresh.query("CREATE TABLE t (a int) USING columnar", database="w")
    fresh.query("INSERT INTO t SELECT generate_series(1, 5000)", database="w")
    replica = fresh.replica()
    copies.append(replica)
    fresh.wait_for_replay(replica)
    assert replica.scalar("SELECT count(*) FROM t", database="w") == "5000"
    assert replica.query("SELECT * FROM orochi.health()", database="w")
    with pytest.raises(psycopg2.Error):
        replica.query("INSERT INTO t VALUES (1)", database="w")
    fresh.crash()
    replica.query("SELECT pg_promote()")
    _all_running(replica, seconds=30)
    _mover_works(replica)


def test_not_preloaded(make_server):
    """Without shared_preload_libraries functions work; what needs the library says so, with a hint."""
    server = make_server(preload="", name="plain")
    server.query("CREATE DATABASE w")
    session = server.connect("w")
    assert perform(session, "CREATE EXTENSION orochi").error is None
    assert perform(session, "SELECT orochi.version()").error is None
    outcome = perform(session, "SELECT status, hint FROM orochi.health() WHERE \"check\" = 'preload'")
    assert outcome.rows[0][0] == "fail" and "shared_preload_libraries" in outcome.rows[0][1]
    attempts = ("CREATE TABLE t (a int) USING columnar", "INSERT INTO t SELECT generate_series(1, 5000)", "SELECT count(*) FROM t")
    refused = [outcome for outcome in (perform(session, sql) for sql in attempts) if outcome.error]
    assert refused and refused[0].error[0] == "55000" and "shared_preload_libraries" in refused[0].error[2], refused
    session.close()
