"""A server that had Orochi preloaded and has it no more: what still works, what is refused, and that nothing is lost."""

import pytest

from harness import settings
from harness.session import perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="a heap needs no library")

#: What reads or writes rows of a columnar table, or makes one.
REFUSED = (
    "SELECT count(*) FROM c",
    "EXPLAIN SELECT * FROM c",
    "SELECT * FROM c WHERE a = 1 FOR UPDATE",
    "INSERT INTO c VALUES (-1, '')",
    "INSERT INTO c VALUES (-1, '') ON CONFLICT DO NOTHING",
    "UPDATE c SET b = '' WHERE a = 1",
    "DELETE FROM c WHERE a = 1",
    "COPY c TO PROGRAM 'cat > /dev/null'",
    "COPY c (a) FROM PROGRAM 'echo 70000'",
    "TRUNCATE c",
    "VACUUM c",
    "VACUUM FULL c",
    "ANALYZE c",
    "CREATE INDEX ON c (b)",
    "REINDEX TABLE c",
    "CLUSTER c USING c_pkey",
    "ALTER TABLE c ADD COLUMN x float8 DEFAULT random()",
    "ALTER TABLE c ALTER COLUMN a TYPE bigint",
    "ALTER TABLE c SET ACCESS METHOD heap",
    "ALTER TABLE h SET ACCESS METHOD columnar",
    "CREATE TABLE n (a int) USING columnar",
    "CREATE TABLE n USING columnar AS SELECT 1 AS a",
    "CREATE MATERIALIZED VIEW n USING columnar AS SELECT 1 AS a",
)
#: What only concerns catalogs, other tables, or Orochi itself.
ALLOWED = (
    "SELECT orochi.version()",
    "SELECT * FROM orochi.health()",
    "SELECT * FROM orochi.metrics()",
    "SELECT * FROM orochi.workers()",
    "SELECT orochi.start_workers()",
    "SELECT orochi.columnar_set_options('c'::regclass, compression => 'zstd')",
    "SELECT pg_table_size('c'), pg_total_relation_size('c')",
    "ALTER TABLE c RENAME COLUMN b TO bb",
    "ALTER TABLE c RENAME COLUMN bb TO b",
    "ALTER TABLE c ADD COLUMN later int",
    "DROP TABLE dropped",
    "SELECT count(*), sum(a) FROM h",
    "INSERT INTO h VALUES (0, 'x')",
    "UPDATE h SET b = '' WHERE a = 1",
    "DELETE FROM h WHERE a = 0",
    "CREATE INDEX ON h (b)",
    "VACUUM ANALYZE h",
    "CREATE TABLE h2 AS SELECT * FROM h",
    "CREATE DATABASE copied TEMPLATE w",
    "DROP DATABASE copied",
)


@pytest.fixture
def unloaded(make_server):
    """A server without the library, whose database `w` has columnar tables with rows in stripes and in the row store."""
    server = make_server(name="unloaded", config={"orochi.mover_enabled": "off"})
    server.create_database("w")
    for name, method in (("c", "columnar"), ("dropped", "columnar"), ("h", "heap")):
        server.query(f"CREATE TABLE {name} (a int PRIMARY KEY, b text) USING {method}", database="w")
        server.query(f"INSERT INTO {name} SELECT i, 'b' || i FROM generate_series(1, 5000) i", database="w")
    server.configure({"shared_preload_libraries": ""})
    return server.restart()


def attempt(server, sql):
    """The outcome of a statement in a new session, to which the library is new as well."""
    session = server.connect("w")
    try:
        return perform(session, sql)
    finally:
        session.close()


def test_what_works_and_what_does_not(unloaded):
    """Each statement on the lists does what its list says, and the rows are there when the library is."""
    refused = {sql: attempt(unloaded, sql) for sql in REFUSED}
    wrong = [f"{sql}: {outcome}" for sql, outcome in refused.items()
             if not outcome.error or outcome.error[0] != "55000" or "shared_preload_libraries" not in outcome.error[2]]
    allowed = {sql: attempt(unloaded, sql) for sql in ALLOWED}
    wrong += [f"{sql}: {outcome}" for sql, outcome in allowed.items() if outcome.error]
    assert not wrong, "\n".join(wrong)
    unloaded.configure({"shared_preload_libraries": "orochi"})
    unloaded.restart()
    assert unloaded.query("SELECT count(*), sum(a), count(b), count(later) FROM c", database="w") == [("5000", "12502500", "5000", "0")]
    assert unloaded.query("SELECT count(*), sum(a), count(b) FROM h", database="w") == [("5000", "12502500", "5000")]


def test_health_says_what_to_do(unloaded):
    """The check of the library fails with the line for postgresql.conf, and the error of a table has the same hint."""
    rows = attempt(unloaded, "SELECT status, hint FROM orochi.health() WHERE \"check\" = 'preload'").rows
    assert rows[0][0] == "fail" and "shared_preload_libraries" in rows[0][1]
    done = unloaded.psql("SELECT count(*) FROM c", database="w", check=False)
    assert done.returncode != 0 and f"HINT:  {rows[0][1]}" in done.stderr, done.stderr


def test_compaction_is_refused(unloaded):
    """The mover's function says the same as the tables."""
    for sql in ("CALL orochi.columnar_compact('c')", "SELECT orochi.columnar_compact_step('c'::regclass)"):
        outcome = attempt(unloaded, sql)
        assert outcome.error and outcome.error[0] == "55000", f"{sql}: {outcome}"


def test_extension_can_go_and_come(unloaded):
    """The extension is dropped with its tables, and created again, by a server that has not preloaded it."""
    outcome = attempt(unloaded, "DROP EXTENSION orochi")
    assert outcome.error and outcome.error[0] == "2BP01", outcome
    for sql in ("DROP EXTENSION orochi CASCADE", "CREATE EXTENSION orochi", "SELECT orochi.version()", "SELECT * FROM h LIMIT 1"):
        outcome = attempt(unloaded, sql)
        assert outcome.error is None, f"{sql}: {outcome}"
    assert attempt(unloaded, "SELECT to_regclass('c')").rows == [(None,)]
