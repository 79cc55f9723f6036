"""Columnar tables as objects of a database: dumped, restored, moved between tablespaces, depended upon, published."""

import pytest

from harness import process, settings, twins
from harness.session import perform

AM = settings.ACCESS_METHOD
columnar_only = pytest.mark.skipif(not settings.COLUMNAR, reason="about columnar tables")


def ok(session, *statements):
    """Executes statements that must succeed; returns the rows of the last one."""
    for sql in statements:
        outcome = perform(session, sql)
        assert outcome.error is None, f"{sql}: {outcome}"
    return outcome.rows


@pytest.fixture
def session(server, database):
    """A session in the test's database."""
    connection = server.connect(database)
    yield connection
    connection.close()


@pytest.mark.parametrize("dump_format", ["plain", "custom"])
def test_dump_and_restore(server, database, session, dump_format):
    """pg_dump's output restores to tables with the same access method, rows, indexes and constraints."""
    with session.cursor() as cursor:
        twins.create(cursor, "d", "id int PRIMARY KEY, a int CHECK (a >= 0), b text, c jsonb", ("CREATE INDEX {}_a ON {} (a) WHERE a > 5",))
    for table in ("h_d", "c_d"):
        ok(session, f"INSERT INTO {table} SELECT i, i % 100, 'it''s ' || i, jsonb_build_object('k', i) FROM generate_series(1, 3000) i",
           f"DELETE FROM {table} WHERE id % 7 = 0", f"UPDATE {table} SET b = NULL WHERE id % 11 = 0", f"ALTER TABLE {table} DROP COLUMN c")
    restored = f"{database}_restored"
    path = server.root / f"{database}.dump"
    server.run("pg_dump", "-d", server.dsn(database), "-F", dump_format, "-f", path)
    server.query(f'CREATE DATABASE "{restored}" TEMPLATE template0')
    try:
        if dump_format == "plain":
            server.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(restored), "-f", path)
        else:
            server.run("pg_restore", "--exit-on-error", "-d", server.dsn(restored), path)
        twins.assert_equal(server, "d", restored)
        sql = """SELECT amname, (SELECT count(*) FROM pg_index WHERE indrelid = c.oid), (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n')
            FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relname = 'c_d'"""
        assert server.query(sql, database=restored) == server.query(sql, database=database) == [(AM, "2", "2")]
    finally:
        server.query(f'DROP DATABASE "{restored}" WITH (FORCE)')


def test_tablespace(server, session):
    """A table and its index move to another tablespace and back, inside one, and with a default."""
    path = server.root / "space"
    path.mkdir()
    process.give_away(path)
    ok(session, f"CREATE TABLESPACE space LOCATION '{path}'", f"CREATE TABLE t (a int PRIMARY KEY, b text) USING {AM}",
       "INSERT INTO t SELECT i, 'b' || i FROM generate_series(1, 5000) i", "ALTER TABLE t SET TABLESPACE space")
    check = "SELECT count(*), sum(a), sum(length(b)) FROM t"
    before = ok(session, check)
    assert "pg_tblspc" in ok(session, "SELECT pg_relation_filepath('t')")[0][0]
    assert "pg_tblspc" in ok(session, "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 't'")[0][0]
    ok(session, "INSERT INTO t SELECT i, 'c' FROM generate_series(6000, 8000) i", "DELETE FROM t WHERE a >= 6000", "VACUUM t",
       "ALTER TABLE t SET TABLESPACE pg_default")
    assert ok(session, check) == before
    ok(session, "SET default_tablespace = space", f"CREATE TABLE u USING {AM} AS SELECT * FROM t", "RESET default_tablespace")
    assert ok(session, check.replace(" t", " u")) == before
    ok(session, "DROP TABLE u, t", "DROP TABLESPACE space")


def test_sizes(session):
    """Size functions count what a table takes, and TRUNCATE gives it back."""
    ok(session, f"CREATE TABLE t (a int, b text) USING {AM}")
    empty = int(ok(session, "SELECT pg_total_relation_size('t')")[0][0])
    ok(session, "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 50000) i")
    full = int(ok(session, "SELECT pg_total_relation_size('t')")[0][0])
    assert full - empty > 50000 * 16
    ok(session, "TRUNCATE t")
    assert int(ok(session, "SELECT pg_total_relation_size('t')")[0][0]) <= max(empty, 65536)


def test_space_is_reused(session):
    """Deleting and loading again does not let the table grow without end."""
    ok(session, f"CREATE TABLE t (a int, b text) USING {AM}")
    sizes = []
    for _ in range(6):
        ok(session, "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 20000) i", "DELETE FROM t")
        if settings.COLUMNAR:
            ok(session, "CALL orochi.columnar_compact('t')")
        ok(session, "VACUUM t")
        sizes.append(int(ok(session, "SELECT pg_table_size('t')")[0][0]))
    assert sizes[-1] <= 2 * sizes[1] + 2**20, sizes


@columnar_only
def test_extension_cannot_go(session):
    """DROP EXTENSION is refused while a columnar table exists; CASCADE drops the table; afterwards it can return."""
    ok(session, "CREATE TABLE t (a int) USING columnar")
    outcome = perform(session, "DROP EXTENSION orochi")
    assert outcome.error and outcome.error[0] == "2BP01", outcome
    ok(session, "DROP TABLE t", "DROP EXTENSION orochi", "CREATE EXTENSION orochi", "CREATE TABLE t (a int) USING columnar", "INSERT INTO t VALUES (1)")
    ok(session, "DROP EXTENSION orochi CASCADE")
    assert ok(session, "SELECT to_regclass('t')") == [(None,)]


@columnar_only
def test_publications(session):
    """A columnar table cannot be published, for its changes are not decoded; health() warns of FOR ALL TABLES."""
    ok(session, "CREATE TABLE t (a int PRIMARY KEY) USING columnar", "CREATE TABLE h (a int PRIMARY KEY) USING heap")
    for sql in ("CREATE PUBLICATION p FOR TABLE t", "CREATE PUBLICATION p FOR TABLE h, t"):
        outcome = perform(session, sql)
        assert outcome.error and outcome.error[0] in ("0A000", "22023"), f"{sql}: {outcome}"
    ok(session, "CREATE PUBLICATION p FOR TABLE h")
    outcome = perform(session, "ALTER PUBLICATION p ADD TABLE t")
    assert outcome.error and outcome.error[0] in ("0A000", "22023"), outcome
    ok(session, "CREATE PUBLICATION everything FOR ALL TABLES")
    assert ok(session, "SELECT 1 FROM orochi.health() WHERE status = 'warn' AND concat(\"check\", object, detail) ~* 'publi'")
    ok(session, "DROP PUBLICATION everything")


def test_toast_option_and_storage_parameters(session):
    """Storage parameters of heaps are accepted or refused, never ignored in silence by a crash."""
    ok(session, f"CREATE TABLE t (a int) USING {AM} WITH (autovacuum_enabled = off, fillfactor = 70)",
       "ALTER TABLE t RESET (fillfactor)", "INSERT INTO t SELECT generate_series(1, 2000)")
    assert ok(session, "SELECT count(*) FROM t") == [("2000",)]


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT", "ROLLBACK TO s; COMMIT"])
def test_row_locks_after_reindex(server, database, session, end):
    """Rows that are locked, updated and deleted in the transaction that rebuilds the indexes, however that ends."""
    with session.cursor() as cursor:
        twins.create(cursor, "r", "a int PRIMARY KEY, b text")
    ok(session, *([] if not settings.COLUMNAR else ["SET orochi.row_store_rows = 0"]))
    for table in ("h_r", "c_r"):
        ok(session, f"INSERT INTO {table} SELECT i, 'b' FROM generate_series(1, 3000) i", "BEGIN", f"REINDEX TABLE {table}",
           f"SELECT a FROM {table} WHERE a < 10 FOR SHARE", "SAVEPOINT s", f"SELECT a FROM {table} WHERE a BETWEEN 10 AND 20 FOR UPDATE",
           f"UPDATE {table} SET b = 'changed' WHERE a % 50 = 7", f"DELETE FROM {table} WHERE a % 50 = 8", *end.split("; "))
    for turn in range(3):
        for table in ("h_r", "c_r"):
            ok(session, f"SELECT a FROM {table} WHERE a < 100 FOR UPDATE", f"UPDATE {table} SET b = b || {turn} WHERE a % 50 = 9",
               f"DELETE FROM {table} WHERE a % 50 = {turn + 7}", f"REINDEX TABLE {table}")
        twins.assert_equal(server, "r", database)
        twins.assert_index_agrees(server, "r", "a", database)
