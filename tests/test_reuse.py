"""An hour of mixed load: space is used again, so that the table ends little larger than a fresh copy of it."""

import pytest

from harness import settings, twins
from harness.actors import Cast
from harness.fire import Prober, check_waits, create_pair, drop_kept_rows, mover_pids
from harness.readers import Reader, compaction, vacuum
from harness.writers import Locker, Writer

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="a heap has no mover")

SECONDS = settings.size(20, 3600)
WRITERS = 4
#: Rows that stay, and their text, which takes 32 bytes however it is compressed. What the writers leave behind depends on how much they
#: write between two runs of VACUUM, and not on the size of the table.
KEPT = settings.size(400_000, 5_000_000)
TEXT = "md5(i::text) || md5((-i)::text)"
#: Size at the end to that of a fresh copy.
RATIO = settings.size(4.0, 1.2)
#: The longest that the mover may keep a session waiting for a row, in milliseconds. The small size also runs where everything is slow.
LOCK_WAIT_MS = settings.size(1000, 100)
#: Without feedback the primary does not know of the replica's snapshots: what they see is removed beneath them, and replay has to wait, or to
#: cancel their queries after a while. With feedback the primary would keep it, for minutes, and of heaps as well; tests/test_mover_fire.py has that.
REPLICA = {"hot_standby_feedback": "off", "max_standby_streaming_delay": "30s"}


def test_an_hour_of_mixed_load(make_server, copies):
    """Writers, lockers, readers, VACUUM and the mover; a replica whose reader has old snapshots."""
    server = make_server(config={"log_lock_waits": "on", "deadlock_timeout": f"{LOCK_WAIT_MS}ms", "max_connections": "60",
                                 "wal_keep_size": "8GB", "autovacuum_naptime": "10s", "orochi.mover_naptime_ms": "200"}, name="reuse")
    create_pair(server, KEPT, TEXT)
    replica = server.replica(config=REPLICA)
    copies.append(replica)
    actors = [Writer(server, "fire", "fire", number, settings.SEED) for number in range(WRITERS)]
    actors += [Locker(server, "fire", "fire", 0, settings.SEED), Reader(server, "fire", "fire", "reader", settings.SEED),
               Reader(replica, "fire", "fire", "replica_reader", settings.SEED, keep=min(SECONDS / 8, 120)),
               Prober(server, "fire", "fire", settings.SEED), vacuum(server, "fire", "fire", settings.SEED),
               compaction(server, "fire", "fire", settings.SEED)]
    cast = Cast(actors)
    with cast:
        cast.play(SECONDS)
        movers = mover_pids(server)
    print(cast.summary())
    check_waits(server, movers, cast)
    print(f"a heap under the same load has {size_ratio(server, 'h_fire', 'heap'):.2f} times the size of a fresh copy")
    ratio = size_ratio(server, "c_fire", "columnar")
    drop_kept_rows(server)
    twins.assert_equal(server, "fire", "fire")
    server.wait_for_replay(replica)
    twins.assert_equal(replica, "fire", "fire", "replica")
    assert ratio <= RATIO, f"the table has {ratio:.2f} times the size of a fresh copy"


#: Bytes of the relations that a table consists of.
PARTS = """SELECT c.relname, pg_relation_size(c.oid), pg_relation_size(c.oid, 'fsm') FROM pg_class t
           JOIN pg_class c ON c.oid IN (t.oid, t.reltoastrelid, (SELECT indexrelid FROM pg_index WHERE indrelid = t.reltoastrelid))
           WHERE t.oid = %s::regclass"""


def size_ratio(server, table, method):
    """Size of a table to that of a fresh copy, both compacted and vacuumed."""
    fresh = f"fresh_{table}"
    server.query(f"CREATE TABLE {fresh} (LIKE {table}) USING {method}", database="fire")
    server.query(f"INSERT INTO {fresh} SELECT * FROM {table}", database="fire")
    sizes = []
    for name in (table, fresh):
        if method == "columnar":
            server.query(f"CALL orochi.columnar_compact('{name}')", database="fire")
        server.query(f"VACUUM {name}", database="fire")
        sizes.append(int(server.scalar(f"SELECT pg_table_size('{name}')", database="fire")))
        print(server.query(PARTS, (name,), database="fire"))
    print(f"size {sizes[0]}, fresh copy {sizes[1]}")
    return sizes[0] / sizes[1]
