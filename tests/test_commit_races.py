"""Sessions that look at rows at the moment their insertion commits: index entries stay, and keys stay unique."""

import time

import pytest

from harness import settings
from harness.actors import Actor, Cast
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


class Counter(Actor):
    """Counts the rows by index, over and over."""

    def prepare(self):
        assert perform(self.connection, BY_INDEX).error is None

    def turn(self):
        count(self.connection)


class Inserter(Actor):
    """Inserts a key of the load that is under way, of which `state` has the last key before it."""

    def __init__(self, server, name, state):
        super().__init__(server, "races", name, settings.SEED)
        self.state = state

    def turn(self):
        outcome = perform(self.connection, f"INSERT INTO t VALUES ({self.state['last'] + ROWS - 1}, 'single')")
        assert refused_or_done(outcome), outcome


def count(session):
    """The number of rows, each of which is fetched."""
    outcome = perform(session, "SELECT count(v) FROM t WHERE k > 0")
    assert outcome.error is None, outcome
    return int(outcome.rows[0][0])


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
    with Cast(Counter(server, "races", f"reader{number}", settings.SEED) for number in range(READERS)) as cast:
        while time.monotonic() < deadline:
            cast.check()
            for _ in range(3):
                assert load(session, last).error is None
                last += ROWS
            for way in (BY_SCAN, BY_INDEX + "; SET enable_indexscan = on"):
                assert perform(session, way).error is None
                assert count(session) == last, way
            if last >= TABLE_ROWS:
                assert perform(session, "TRUNCATE t").error is None
                last = 0


def test_keys_stay_unique(server_and_session):
    """A session that inserts keys of a load which is just committing waits for it, or comes first; there are never two."""
    server, session = server_and_session
    state = {"last": 0}
    deadline, last, loaded = time.monotonic() + SECONDS, 0, 0
    with Cast(Inserter(server, f"inserter{number}", state) for number in range(READERS // 2)) as cast:
        while time.monotonic() < deadline:
            cast.check()
            last += ROWS
            # Every other load is known to the others before it begins, the rest while it waits for its commit.
            if last % (2 * ROWS) == 0:
                state["last"] = last
            assert perform(session, "BEGIN").error is None
            outcome = load(session, last)
            assert refused_or_done(outcome), outcome
            loaded += outcome.error is None
            state["last"] = last
            assert perform(session, "COMMIT").error is None
    assert perform(session, BY_SCAN).error is None
    doubled = perform(session, "SELECT k, count(*) FROM t GROUP BY k HAVING count(*) > 1")
    assert doubled.error is None and not doubled.rows, doubled
    assert loaded
