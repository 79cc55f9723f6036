"""Spike 2: rows move from the row store to stripes under fire, and nobody loses a row or waits for it."""

import pytest

from harness import settings, twins
from harness.actors import Cast
from harness.fire import Prober, check_waits, create_pair, drop_kept_rows, mover_pids
from harness.readers import Reader, StatementReader, compaction, vacuum
from harness.writers import Locker, Writer

SECONDS = settings.size(15, 600)
CRASHES = settings.size(1, 10)
WRITERS = 8
#: Stripes are small, sorted, and sorted together.
ORDERED = "segment_by => 'v', order_by => 'k', stripe_row_limit => 1000, recluster_stripes => 3"
#: The longest that the mover may keep a session waiting for a row, in milliseconds. The small size also runs where everything is slow.
LOCK_WAIT_MS = settings.size(1000, 100)


@pytest.mark.parametrize("options", ["", ORDERED], ids=["as it comes", "ordered"])
def test_mover_under_fire(make_server, copies, options):
    """Writers, lockers, readers and a replica's reader, with the mover at work and servers killed in between."""
    server = make_server(config=_config(), name="fire")
    create_pair(server, options=options)
    replica = server.replica(config={"max_standby_streaming_delay": "-1"})
    copies.append(replica)
    cast, movers = _cast(server, replica)
    with cast:
        for _ in range(CRASHES):
            cast.play(SECONDS / (CRASHES + 1))
            movers |= mover_pids(server)
            server.crash()
            server.start()
        cast.play(SECONDS / (CRASHES + 1))
        movers |= mover_pids(server)
    print(cast.summary())
    assert all(actor.turns for actor in cast.actors), cast.summary()
    _check_end(server, replica)
    check_waits(server, movers, cast)


def _config():
    # Old snapshots on the replica hold its replay up; it has to find the WAL when it goes on.
    config = {"log_lock_waits": "on", "deadlock_timeout": f"{LOCK_WAIT_MS}ms", "max_connections": "80", "wal_keep_size": "8GB"}
    if settings.COLUMNAR:
        config["orochi.mover_naptime_ms"] = "50"
    return config


def _cast(server, replica):
    seed = settings.SEED
    actors = [Writer(server, "fire", "fire", number, seed) for number in range(WRITERS)]
    actors += [Locker(server, "fire", "fire", number, seed) for number in range(2)]
    actors += [Reader(server, "fire", "fire", "reader", seed), StatementReader(server, "fire", "fire", "statement_reader", seed),
               Reader(replica, "fire", "fire", "replica_reader", seed, keep=SECONDS / 8),
               Prober(server, "fire", "fire", seed),
               vacuum(server, "fire", "fire", seed), compaction(server, "fire", "fire", seed)]
    return Cast(actors), set()


def _check_end(server, replica):
    drop_kept_rows(server)
    twins.assert_equal(server, "fire", "fire")
    twins.assert_index_agrees(server, "fire", "k", "fire")
    server.wait_for_replay(replica)
    twins.assert_equal(replica, "fire", "fire", "replica")
