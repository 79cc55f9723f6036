"""Sessions that look at rows at the moment their insertion commits: index entries stay, and keys stay unique."""

import threading
import time

import pytest

from harness import settings
from harness.session import perform

SECONDS = settings.size(10, 120)
ROWS = 2000
#: Rows after which the table starts anew, so that a look at all of it stays short.
TABLE_ROWS = 30_000
READERS = 6
BY_INDEX = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; SET orochi.enable_columnar_scan = off"
BY_SCAN = "SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off; RESET orochi.enable_columnar_scan"


@pytest.fixture
def server_and_session(make_server):
    """A server without the mover, and a session that writes straight into stripes."""
    server = make_server(config={"autovacuum": "off", "orochi.mover_enabled": "off", "synchronous_commit": "off"}, name="races")
    server.create_database("races")
    session = server.connect("races")
    for sql in (f"CREATE TABLE t (k bigint PRIMARY KEY, v text) USING {settings.ACCESS_METHOD}", "SET orochi.row_store_rows = 0"):
        assert perform(session, sql).error is None
    yield server, session
    session.close()


class Looping:
    """Threads that repeat something in sessions of their own until they are stopped; what they raise is kept."""

    def __init__(self, server, count, turn, setup):
        self.stopped, self.failures = threading.Event(), []
        self.server, self.turn, self.setup = server, turn, setup
        self.threads = [threading.Thread(target=self._run) for _ in range(count)]

    def _run(self):
        try:
            session = self.server.connect("races")
            assert perform(session, self.setup).error is None
            while not self.stopped.is_set():
                self.turn(session)
            session.close()
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures


def ask(session, sql):
    """The value that a query returns."""
    outcome = perform(session, sql)
    assert outcome.error is None, f"{sql}: {outcome}"
    return outcome.rows[0] if outcome.rows else None


def refused_or_done(outcome):
    """True if a statement succeeded or met a key that is there."""
    return outcome.error is None or outcome.error[0] == "23505"


def load(session, last):
    """Inserts the keys after `last` in one statement."""
    return perform(session, f"INSERT INTO t SELECT i, 'loaded' FROM generate_series({last + 1}, {last + ROWS}) i")


def test_index_entries_stay(server_and_session):
    """Index scans that meet rows of a load which is just committing must not take their entries for dead."""
    server, session = server_and_session
    last, deadline = 0, time.monotonic() + SECONDS
    with Looping(server, READERS, lambda reader: ask(reader, "SELECT count(v) FROM t WHERE k > 0"), BY_INDEX):
        while time.monotonic() < deadline:
            for _ in range(3):
                assert load(session, last).error is None
                last += ROWS
            seen = {}
            for way in (BY_SCAN, BY_INDEX + "; SET enable_indexscan = on"):
                assert perform(session, way).error is None
                seen[way] = ask(session, "SELECT count(v) FROM t WHERE k > 0")
            assert len(set(map(str, seen.values()))) == 1, f"{last} rows: {seen}"
            assert str(last) in str(seen[BY_SCAN])
            if last >= TABLE_ROWS:
                assert perform(session, "TRUNCATE t").error is None
                last = 0


def test_keys_stay_unique(server_and_session):
    """A session that inserts keys of a load which is just committing waits for it, or comes first; there are never two."""
    server, session = server_and_session
    state = {"last": 0}

    def insert_one(other):
        outcome = perform(other, f"INSERT INTO t VALUES ({state['last'] + ROWS - 1}, 'single')")
        assert refused_or_done(outcome), outcome

    deadline, loaded, refused = time.monotonic() + SECONDS, 0, 0
    with Looping(server, READERS // 2, insert_one, "SELECT 1"):
        while time.monotonic() < deadline:
            outcome = load(session, state["last"])
            assert refused_or_done(outcome), outcome
            loaded += outcome.error is None
            refused += outcome.error is not None
            state["last"] += ROWS
    assert perform(session, BY_SCAN).error is None
    doubled = perform(session, "SELECT k, count(*) FROM t GROUP BY k HAVING count(*) > 1")
    assert doubled.error is None and not doubled.rows, doubled
    assert loaded + refused > 0
