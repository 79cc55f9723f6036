"""What the tests under fire share: a pair of tables with rows that only one actor changes, and proof that the mover kept nobody waiting."""

import re
import time

import psycopg2

from . import settings, twins
from .actors import Actor
from .writers import COLUMNS, INDEXES, SHARED_KEYS

#: Name of the database and of the pair.
NAME = "fire"
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


def create_pair(server, kept=_PROBE_KEYS, text="'kept ' || i", options=""):
    """The pair with the writers' rows, and behind them `kept` rows with negative keys and a text, of which the prober changes the first. The
    columnar table has some options."""
    server.create_database(NAME)
    connection = server.connect(NAME)
    with connection.cursor() as cursor:
        twins.create(cursor, NAME, COLUMNS, INDEXES)
        if options and settings.COLUMNAR:
            cursor.execute(f"SELECT orochi.columnar_set_options('c_{NAME}', {options})")
        for prefix in ("h", "c"):
            cursor.execute(f"INSERT INTO {prefix}_{NAME} SELECT i, 0, i %% 17, 'start', i FROM generate_series(1, %s) i", (SHARED_KEYS,))
            cursor.execute(f"INSERT INTO {prefix}_{NAME} SELECT -i, 0, NULL, {text}, i FROM generate_series(1, %s) i", (kept,))
    connection.close()


def drop_kept_rows(server):
    """Removes the rows that the prober changes in the table under test only."""
    for prefix in ("h", "c"):
        server.query(f"DELETE FROM {prefix}_{NAME} WHERE k < 0", database=NAME)


def mover_pids(server):
    """Processes of the workers that run."""
    if not settings.COLUMNAR:
        return set()
    try:
        return {int(row[0]) for row in server.query("SELECT pid FROM orochi.workers() WHERE pid IS NOT NULL", database=NAME)}
    except psycopg2.OperationalError:
        return set()


def check_waits(server, movers, cast):
    """No session waited for a lock held by the mover, and the prober, whose rows are its own, never waited."""
    prober = next(actor for actor in cast.actors if actor.name == "prober")
    print(f"slowest statement of the prober: {prober.slowest * 1000:.0f} ms")
    movers = movers.union(*(actor.pids for actor in cast.actors if actor.name == "compaction"))
    blamed = []
    for match in _WAIT.finditer(server.log_text()):
        waiter, holders = int(match.group(1)), {int(pid) for pid in (match.group(5) or "").replace(",", " ").split()}
        # Two commands of users that exclude each other, such as VACUUM and a compaction, are not the mover's doing.
        on_row = match.group(3) in ("transaction", "tuple")
        if waiter in prober.pids or (on_row and holders & movers and waiter not in movers):
            blamed.append(match.group(0))
    assert not blamed, "\n".join(blamed)
