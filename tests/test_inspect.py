"""What stripes hold is shown as it is; damage is found, named and got around."""

import random

import pytest

from harness import settings
from harness.damage import flip, stripe_bytes, without_checksums
from harness.session import ok, perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="only columnar tables have stripes")

FLIPS = settings.size(60, 10_000)
#: Tables that are damaged between two starts of the server, one byte each.
BATCH = settings.size(30, 200)
ROWS = 3_000
SOURCE = f"""SELECT i AS id, i * 7 % 1000 AS small, (i % 500) / 4.0 AS price, i / 3.0::float8 AS real, 'name ' || i % 20 AS name,
    md5(i::text) AS noise, CASE WHEN i % 3 > 0 THEN timestamptz '2024-01-01' + i * interval '1 min' END AS time, i % 2 = 0 AS flag
    FROM generate_series(1, {ROWS}) i"""
CONTENTS = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {} t"
CONFIG = {"orochi.mover_enabled": "off", "autovacuum": "off", "orochi.row_store_rows": "0"}


def test_stripes_and_columns(server, database):
    """Rows, deleted rows, bytes and encodings add up."""
    session = server.connect(database)

    ok(session, "SET orochi.row_store_rows = 0")
    ok(session, "CREATE TABLE t (id int PRIMARY KEY, name text, price numeric(10, 2), nothing int) USING columnar")
    ok(session, "SELECT orochi.columnar_set_options('t', stripe_row_limit => 5000)")
    ok(session, "INSERT INTO t SELECT i, 'name ' || i % 7, i % 90 FROM generate_series(1, 20000) i")
    assert ok(session, "SELECT sum(rows), sum(deleted), bool_or(sorted) FROM orochi.columnar_stripes('t')") == [("20000", "0", "f")]
    assert ok(session, "SELECT bool_and(bytes > 0 AND ratio > 2 AND vectors >= rows / 1024) FROM orochi.columnar_stripes('t')") == [("t",)]
    assert ok(session, "SELECT count(DISTINCT stripe) * 4 = count(*) FROM orochi.columnar_stats('t')") == [("t",)]
    found = dict(ok(session, "SELECT column_name, min(encodings) FROM orochi.columnar_stats('t') GROUP BY 1"))
    assert found["id"].startswith("integers ") and found["name"].startswith("dictionary ") and found["price"].startswith("decimal "), found
    assert ok(session, "SELECT sum(nulls), sum(bytes), min(encodings) FROM orochi.columnar_stats('t') WHERE column_name = 'nothing'") == [("20000", "0", "")]
    assert ok(session, "SELECT * FROM orochi.columnar_check('t')") == []
    ok(session, "DELETE FROM t WHERE id <= 1000")
    ok(session, "CALL orochi.columnar_compact('t')")
    assert ok(session, "SELECT sum(rows - deleted) FROM orochi.columnar_stripes('t')") == [("19000",)]
    assert ok(session, "SELECT count(*), sum(id) FROM orochi.columnar_salvage(NULL::t)") == ok(session, "SELECT count(*), sum(id) FROM t")


def test_for_owners_only(server, database):
    """Bounds and errors tell of the contents."""
    session = server.connect(database)
    for sql in ("CREATE TABLE t (a int) USING columnar", "CREATE TABLE h (a int) USING heap", "CREATE ROLE stranger", "GRANT ALL ON t TO stranger"):
        assert perform(session, sql).error is None
    calls = [f"SELECT * FROM orochi.columnar_{name}('{{}}')" for name in ("stripes", "stats", "check")]
    calls.append("SELECT * FROM orochi.columnar_salvage(NULL::{})")
    try:
        for call in calls:
            assert perform(session, call.format("t")).error is None, call
            assert perform(session, call.format("h")).error[0] == "42809", call
            assert perform(session, "SET ROLE stranger").error is None
            assert perform(session, call.format("t")).error[0] == "42501", call
            assert perform(session, "RESET ROLE").error is None
        assert perform(session, "SELECT * FROM orochi.columnar_salvage(1)").error[0] == "42809"
    finally:
        perform(session, "RESET ROLE; DROP OWNED BY stranger; DROP ROLE stranger")


def test_flipped_bytes(make_server):
    """A byte that has changed on disk is noticed wherever it lies, by name, or has no effect; what is around it can be salvaged."""
    server = make_server(config=CONFIG, name="flips")
    rng = random.Random(f"{settings.SEED}/flips")
    without_checksums(server)
    server.query(f"CREATE TABLE source AS {SOURCE}")
    expected = server.query(CONTENTS.format("source"))
    noticed = 0
    for first in range(0, FLIPS, BATCH):
        tables = [f"t_{number}" for number in range(min(BATCH, FLIPS - first))]
        for table in tables:
            server.query(f"CREATE TABLE {table} USING columnar AS SELECT * FROM source")
        server.query("CHECKPOINT")
        places = {table: stripe_bytes(server, table) for table in tables}
        server.stop()
        flipped = {table: flip(*rng.choice(places[table]), rng) for table in tables}
        server.start()
        for table in tables:
            noticed += look(server, table, expected, f"OROCHI_SEED={settings.SEED} {table}: {flipped[table]}")
            server.query(f"DROP TABLE {table}")
    assert noticed > FLIPS * 0.9
    assert not server.disasters()


def look(server, table, expected, what):
    """Reads a damaged table in all ways; whether the damage was noticed."""
    connection = server.connect()
    try:
        scan = perform(connection, CONTENTS.format(table))
        problems = perform(connection, f"SELECT stripe, column_name, vector, problem FROM orochi.columnar_check('{table}')")
        saved = perform(connection, f"SELECT count(*), count(t.*) FROM orochi.columnar_salvage(NULL::{table}) t")
    finally:
        connection.close()
    assert saved.error is None and int(saved.rows[0][0]) in (0, ROWS), f"{what}: {saved}"
    if scan.error is None:
        assert scan.rows == expected, f"{what}: {scan}"
        assert problems.error or problems.rows == [], f"{what}: {problems}"
        return 0
    assert scan.error[0] == "XX001" and table in scan.error[2] and "stripe" in scan.error[2], f"{what}: {scan}"
    assert problems.error or problems.rows, f"{what}: {scan} was not found by columnar_check"
    return 1
