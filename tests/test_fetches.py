"""Look-ups by index: plans put out, and scans decode, only the columns that are looked at."""

import pytest

from harness import settings
from harness.session import ok

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="a heap has its columns in one piece")


@pytest.fixture(name="session")
def session_with_table(server, database):
    """A session with a columnar table of many columns, some of which cannot be read, and keys to look up."""
    session = server.connect(database)
    columns = ", ".join(f"md5(g || 'a{number}') || md5(g || 'b{number}') AS c{number}" for number in range(20))
    ok(session, f"CREATE TABLE wide USING columnar AS SELECT g AS id, g % 100 AS k, {columns} FROM generate_series(1, 20000) g; CREATE INDEX ON wide (id); CREATE INDEX ON wide (k)")
    ok(session, "CREATE TABLE keys USING heap AS SELECT g * 7 AS id FROM generate_series(1, 50) g; ANALYZE wide, keys; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off")
    yield session
    session.close()


def test_plans_put_out_what_is_looked_at(session):
    """Core would put out all columns of an index scan below a join: that spares a projection."""
    for sql, columns in (("SELECT sum(length(c3)) FROM keys JOIN wide USING (id)", {"wide.c3"}), ("SELECT keys.id, c3, c7 FROM keys JOIN wide USING (id)", {"wide.c3", "wide.c7"})):
        lines = [line.strip() for line, in ok(session, f"EXPLAIN (VERBOSE, COSTS OFF) {sql}")]
        scan = next(number for number, line in enumerate(lines) if "Index Scan using wide_id_idx" in line)
        assert set(lines[scan + 1].removeprefix("Output: ").split(", ")) <= columns | {"wide.id"}, lines


@pytest.mark.parametrize("scan", ["Index Scan", "Bitmap Heap Scan", "Index Only Scan"])
def test_columns_that_are_not_looked_at_are_not_read(session, server, database, scan):
    """Fetching one column reads fewer blocks than fetching all."""
    setting = {"Index Scan": "enable_bitmapscan", "Bitmap Heap Scan": "enable_indexscan", "Index Only Scan": "enable_bitmapscan"}[scan]
    few = "id" if scan == "Index Only Scan" else "c3"
    blocks = []
    for columns in (few, "wide"):
        fresh = server.connect(database)
        ok(fresh, f"SET enable_seqscan = off; SET {setting} = off")
        sql = f"SELECT {columns} FROM wide WHERE id BETWEEN 10100 AND 10140"
        # The catalog's blocks are in memory then, and nothing of the table.
        plan = ok(fresh, f"EXPLAIN {sql}")
        assert columns == "wide" or any(scan in line for line, in plan), plan
        found, = [line for line, in ok(fresh, f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF, SUMMARY OFF) {sql}") if "Buffers" in line][:1]
        blocks.append(sum(int(part.split("=")[1]) for part in found.split() if part.startswith(("hit=", "read="))))
        fresh.close()
    assert blocks[0] + 100 < blocks[1], blocks
