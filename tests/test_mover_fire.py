"""Spike 2: rows move from the row store to stripes under fire, and nobody loses a row or waits for it."""

import re
import time

import psycopg2

from harness import settings, twins
from harness.actors import Actor, Cast
from harness.readers import Reader, StatementReader, compaction, vacuum
from harness.writers import COLUMNS, INDEXES, SHARED_KEYS, Locker, Writer

SECONDS = settings.size(25, 600)
CRASHES = settings.size(1, 10)
WRITERS = 8
#: The longest that the mover may keep a session waiting for a row, in milliseconds. The small size also runs where everything is slow.
LOCK_WAIT_MS = settings.size(1000, 100)
_PROBE_KEYS = 5000
_WAIT = re.compile(r"\[(\d+)\] .*?process \1 (?:still waiting for|acquired) (\w+) on (\w+) .*? after ([\d.]+) ms"
                   r"(?:\n[^\n]*DETAIL:  Process(?:es)? holding the lock: ([\d, ]+)\.)?")


class Prober(Actor):
    """Changes and locks rows that nobody else touches: only the mover can keep it waiting."""

    def __init__(self, server, database, pair, seed):
        super().__init__(server, database, "prober", seed)
        self.pair = pair
        self.slowest = 0.0

    def turn(self):
        """One row changed or locked."""
        key = -self.random.randrange(1, _PROBE_KEYS + 1)
        with self.connection.cursor() as cursor:
            started = time.monotonic()
            if self.random.random() < 0.5:
                cursor.execute(f"UPDATE c_{self.pair} SET v = v + 1 WHERE k = %s", (key,))
                changed = cursor.rowcount
            else:
                cursor.execute(f"SELECT v FROM c_{self.pair} WHERE k = %s FOR UPDATE", (key,))
                changed = len(cursor.fetchall())
            self.slowest = max(self.slowest, time.monotonic() - started)
        if changed != 1:
            raise AssertionError(f"row {key} is found {changed} times")
        self.pause(0.002)


def test_mover_under_fire(make_server, copies):
    """Writers, lockers, readers and a replica's reader, with the mover at work and servers killed in between."""
    server = make_server(config=_config(), name="fire")
    server.create_database("fire")
    _create_pair(server)
    replica = server.replica(config={"max_standby_streaming_delay": "-1"})
    copies.append(replica)
    cast, movers = _cast(server, replica)
    with cast:
        for _ in range(CRASHES):
            cast.play(SECONDS / (CRASHES + 1))
            movers |= _mover_pids(server)
            server.crash()
            server.start()
        cast.play(SECONDS / (CRASHES + 1))
        movers |= _mover_pids(server)
    print(cast.summary())
    assert all(actor.turns for actor in cast.actors), cast.summary()
    _check_end(server, replica)
    for actor in cast.actors:
        if actor.name == "compaction":
            movers |= actor.pids
    _check_waits(server, movers, cast)


def _config():
    # Old snapshots on the replica hold its replay up; it has to find the WAL when it goes on.
    config = {"log_lock_waits": "on", "deadlock_timeout": f"{LOCK_WAIT_MS}ms", "max_connections": "80", "wal_keep_size": "8GB"}
    if settings.COLUMNAR:
        config["orochi.mover_naptime_ms"] = "50"
    return config


def _create_pair(server):
    connection = server.connect("fire")
    with connection.cursor() as cursor:
        twins.create(cursor, "fire", COLUMNS, INDEXES)
        for prefix in ("h", "c"):
            cursor.execute(f"INSERT INTO {prefix}_fire SELECT i, 0, i %% 17, 'start', i FROM generate_series(1, %s) i", (SHARED_KEYS,))
            cursor.execute(f"INSERT INTO {prefix}_fire SELECT -i, 0, NULL, 'probe', i FROM generate_series(1, %s) i", (_PROBE_KEYS,))
    connection.close()


def _cast(server, replica):
    seed = settings.SEED
    actors = [Writer(server, "fire", "fire", number, seed) for number in range(WRITERS)]
    actors += [Locker(server, "fire", "fire", number, seed) for number in range(2)]
    actors += [Reader(server, "fire", "fire", "reader", seed), StatementReader(server, "fire", "fire", "statement_reader", seed),
               Reader(replica, "fire", "fire", "replica_reader", seed, keep=SECONDS / 8),
               Prober(server, "fire", "fire", seed),
               vacuum(server, "fire", "fire", seed), compaction(server, "fire", "fire", seed)]
    return Cast(actors), set()


def _mover_pids(server):
    if not settings.COLUMNAR:
        return set()
    try:
        return {int(row[0]) for row in server.query("SELECT pid FROM orochi.workers() WHERE pid IS NOT NULL", database="fire")}
    except psycopg2.OperationalError:
        return set()


def _check_end(server, replica):
    # The prober changes the table under test only, so its rows are left out.
    server.query("DELETE FROM h_fire WHERE k < 0", database="fire")
    server.query("DELETE FROM c_fire WHERE k < 0", database="fire")
    twins.assert_equal(server, "fire", "fire")
    twins.assert_index_agrees(server, "fire", "k", "fire")
    server.wait_for_replay(replica)
    twins.assert_equal(replica, "fire", "fire", "replica")


def _check_waits(server, movers, cast):
    """No session waited for a lock held by the mover, and the prober, whose rows are its own, never waited."""
    prober = next(actor for actor in cast.actors if actor.name == "prober")
    print(f"slowest statement of the prober: {prober.slowest * 1000:.0f} ms")
    blamed = []
    for match in _WAIT.finditer(server.log_text()):
        waiter, holders = int(match.group(1)), {int(pid) for pid in (match.group(5) or "").replace(",", " ").split()}
        # Two commands of users that exclude each other, such as VACUUM and a compaction, are not the mover's doing.
        on_row = match.group(3) in ("transaction", "tuple")
        if waiter in prober.pids or (on_row and holders & movers and waiter not in movers):
            blamed.append(match.group(0))
    assert not blamed, "\n".join(blamed)
