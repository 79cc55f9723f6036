"""pg_upgrade to another major: files are copied or linked, and every table is what it was."""

import os

import pytest

from harness import settings
from harness.server import Installation, Server
from harness.session import perform

TARGET = os.environ.get("OROCHI_UPGRADE_TO")
pytestmark = pytest.mark.skipif(not (TARGET and settings.COLUMNAR), reason="OROCHI_UPGRADE_TO names no other major's pg_config")
_ROWS = settings.size(20000, 500000)
_CONFIG = {"orochi.mover_enabled": "off", "autovacuum": "off"}


def _statements(method):
    """Makes a schema's tables with all that can be in a file: stripes, rows that wait, marks, rolled-back and reserved rows."""
    big = f"INSERT INTO t SELECT i, md5(i::text), i / 7.0, repeat('w', i % 50) FROM generate_series(1, {_ROWS}) i"
    yield from (
        f"CREATE SCHEMA {method}", f"SET search_path = {method}", f"SET default_table_access_method = {method}",
        "CREATE TABLE t (k int PRIMARY KEY, a text, n numeric, gone text, later int DEFAULT 5)", "CREATE INDEX ON t (a)", big,
        "ALTER TABLE t DROP COLUMN gone", "ALTER TABLE t ADD COLUMN added int DEFAULT 42", "UPDATE t SET a = 'changed' WHERE k % 97 = 0",
        "DELETE FROM t WHERE k % 89 = 0", "INSERT INTO t SELECT -i FROM generate_series(1, 500) i",
        "BEGIN", f"INSERT INTO t SELECT -i - 1000 FROM generate_series(1, {_ROWS}) i", "ROLLBACK",
        "BEGIN", "SAVEPOINT s", f"INSERT INTO t SELECT -i - 1000 FROM generate_series(1, {_ROWS}) i", "ROLLBACK TO s", "UPDATE t SET n = 0 WHERE k = 1", "COMMIT",
        "BEGIN", "SELECT * FROM t WHERE k BETWEEN 100 AND 200 FOR UPDATE", "COMMIT",
        "CREATE TABLE p (k int, v jsonb) PARTITION BY RANGE (k)", "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5000)",
        "CREATE TABLE p2 PARTITION OF p DEFAULT", "INSERT INTO p SELECT i, jsonb_build_object('i', i) FROM generate_series(1, 9000) i",
        "CREATE UNLOGGED TABLE u AS SELECT * FROM t WHERE k < 3000", "CREATE MATERIALIZED VIEW m AS SELECT a, count(*) FROM t GROUP BY a",
        "CREATE TABLE wide (k int, v text)", "INSERT INTO wide SELECT i, string_agg(md5(j::text), '') FROM generate_series(1, 5) i, generate_series(1, 30000) j GROUP BY i",
        "CREATE TABLE empty (a int)", "CREATE TABLE emptied AS SELECT * FROM t", "TRUNCATE emptied")


_TABLES = ("t", "p", "u", "m", "wide", "empty", "emptied")


def _contents(connection, method):
    found = {}
    for table in _TABLES:
        outcome = perform(connection, f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {method}.{table} t")
        assert outcome.error is None, outcome
        found[table] = outcome.rows
    return found


def _upgrade(old, new, *options):
    new.run("pg_upgrade", "-b", old.installation.bindir, "-B", new.installation.bindir, "-d", old.data, "-D", new.data, "-U", "postgres",
            "-p", old.port, "-P", new.port, "-s", new.root, *options)


@pytest.fixture(scope="module")
def upgradable(installation):
    """Skips where PostgreSQL cannot upgrade a heap: minor releases of November 2026 dump what older ones of the target do not restore."""
    old = Server(installation, name="heap-old").init()
    new = Server(Installation(TARGET), name="heap-new").init()
    try:
        old.start()
        old.query("CREATE TABLE t (a int)")
        old.stop()
        _upgrade(old, new)
    except RuntimeError as failure:
        pytest.skip(f"PostgreSQL itself does not upgrade {installation.bindir} to {new.installation.bindir}: {failure}"[:400])
    finally:
        old.destroy()
        new.destroy()


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_pg_upgrade(upgradable, make_server, copies, mode):
    """Rows, indexes and options are as they were, and the tables go on being written, moved and vacuumed."""
    old = make_server(config=_CONFIG, name="old")
    old.create_database("u")
    connection = old.connect("u")
    for method in ("heap", "columnar"):
        for sql in _statements(method):
            outcome = perform(connection, sql)
            assert outcome.error is None, f"{sql}: {outcome}"
    assert perform(connection, "SELECT orochi.columnar_set_options('columnar.t'::regclass, compression => 'zstd')").error is None
    before = _contents(connection, "columnar")
    assert before == _contents(connection, "heap")
    connection.close()
    old.stop()

    new = Server(Installation(TARGET), config=_CONFIG, name="new").init()
    copies.append(new)
    _upgrade(old, new, *(["--link"] if mode == "link" else []))
    new.start()
    _check(new, before)


def _check(server, before):
    connection = server.connect("u")
    assert _contents(connection, "columnar") == before == _contents(connection, "heap")
    assert perform(connection, "SELECT orochi.columnar_options('columnar.t'::regclass)").rows == [("compression=zstd",)]
    assert perform(connection, "SET enable_seqscan = off").error is None
    for clause in ("k = 4711", "k = 97", "k = -500", "k = -1500", "a = 'changed'"):
        assert perform(connection, "SELECT * FROM columnar.t WHERE " + clause + " ORDER BY k").rows == perform(
            connection, "SELECT * FROM heap.t WHERE " + clause + " ORDER BY k").rows, clause
    for sql in ("UPDATE {}.t SET a = 'after' WHERE k % 50 = 0", "INSERT INTO {}.t SELECT i FROM generate_series(1000000, 1003000) i",
                "DELETE FROM {}.p WHERE k % 3 = 0", "INSERT INTO {}.t VALUES (1) ON CONFLICT (k) DO UPDATE SET n = 1", "REFRESH MATERIALIZED VIEW {}.m"):
        for method in ("heap", "columnar"):
            outcome = perform(connection, sql.format(method))
            assert outcome.error is None, outcome
    for table in ("t", "p1", "u", "wide"):
        assert perform(connection, f"CALL orochi.columnar_compact('columnar.{table}')").error is None
        assert perform(connection, f"VACUUM columnar.{table}").error is None
    assert _contents(connection, "columnar") == _contents(connection, "heap")
    connection.close()
