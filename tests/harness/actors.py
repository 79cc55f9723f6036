"""Threads that work on a server at the same time, survive its crashes and remember what went wrong."""

import random
import threading
import time

import psycopg2

#: Serialization failure, deadlock, lock not available, recovery conflict by any name, transaction resolution unknown.
RETRY = {"40001", "40P01", "55P03", "40003"}
_LOST = ("57P01", "57P02", "57P03")


class Divergence(AssertionError):
    """The tables of a pair, or two reads of one snapshot, disagree."""


class Actor(threading.Thread):
    """Repeats `turn` until stopped. Conflicts are retried, lost connections reopened, all else is a failure."""

    def __init__(self, server, database, name, seed):
        super().__init__(name=name, daemon=True)
        self.server, self.database = server, database
        self.random = random.Random(f"{seed}/{name}")
        self.turns, self.retries = 0, 0
        self.failures = []
        self.pids = set()
        self.connection = None
        self._stopping = threading.Event()

    def turn(self):
        """One unit of work on `self.connection`, which is outside a transaction before and after."""
        raise NotImplementedError

    def prepare(self):
        """Called with every new connection."""

    def run(self):
        while not self._stopping.is_set() and not self.failures:
            try:
                if self.connection is None:
                    self._open()
                self.turn()
                self.turns += 1
            except Exception as error:  # pylint: disable=broad-except
                self._handle(error)
        self._close()

    def _open(self):
        self.connection = self.server.connect(self.database, name=self.name)
        self.pids.add(self.connection.info.backend_pid)
        self.prepare()

    def _handle(self, error):
        code = getattr(error, "pgcode", None)
        lost = isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)) and (code is None or code in _LOST)
        if lost or (self.connection is not None and self.connection.closed):
            self._close()
            self._stopping.wait(0.1)
        elif code in RETRY:
            self.retries += 1
            self._roll_back()
        else:
            query = getattr(getattr(error, "cursor", None), "query", None) or b""
            self.failures.append(f"{self.name}: {type(error).__name__} {code or ''} {error} {query.decode()[:500]}")
            self._roll_back()

    def _roll_back(self):
        try:
            self.connection.rollback()
        except psycopg2.Error:
            self._close()

    def _close(self):
        if self.connection is not None:
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
            self.connection = None

    def pause(self, seconds):
        """Sleeps, but wakes up to stop."""
        self._stopping.wait(seconds)

    def stop(self):
        """Asks the thread to end after its turn."""
        self._stopping.set()


class Cast:
    """Starts actors, and on leaving stops them and reports their failures."""

    def __init__(self, actors):
        self.actors = list(actors)

    def __enter__(self):
        for actor in self.actors:
            actor.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is None:
            self.check()

    def stop(self):
        """Stops all actors; one that hangs is a failure."""
        for actor in self.actors:
            actor.stop()
        for actor in self.actors:
            actor.join(120)
            if actor.is_alive():
                actor.failures.append(f"{actor.name} hangs")

    def check(self):
        """Raises the failures found so far."""
        failures = [failure for actor in self.actors for failure in actor.failures]
        assert not failures, "\n".join(failures)

    def play(self, seconds):
        """Lets the actors work, ending early at the first failure."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            time.sleep(min(0.1, seconds))

    def summary(self):
        """Turns and retries of each actor."""
        return ", ".join(f"{actor.name} {actor.turns}+{actor.retries}" for actor in self.actors)
