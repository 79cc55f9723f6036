"""Back-pressure: statements wait when a row store grows faster than the mover empties it, and only then."""

import psycopg2
import pytest

from harness import process, settings

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="a heap has no row store of its own")

LIMIT = 1000
_CONFIG = {"orochi.mover_naptime_ms": "50", "orochi.backlog_limit_rows": str(LIMIT), "autovacuum": "off"}
_INSERT = "INSERT INTO t SELECT i FROM generate_series(1, 500) i"


def _metric(server, name):
    return float(server.scalar(f"SELECT coalesce(sum(value), 0) FROM orochi.metrics() WHERE name = '{name}'", database="pressure"))


@pytest.fixture
def server(make_server):
    """A server whose mover is running and has nothing to do."""
    server = make_server(config=_CONFIG, name="pressure")
    server.create_database("pressure")
    process.wait_until(
        lambda: server.scalar("SELECT count(*) FROM orochi.workers() WHERE state = 'idle' AND database = 'pressure'",
                              database="pressure") == "1", 20, "the worker runs", 0.1)
    server.query("CREATE TABLE t (i integer) USING columnar", database="pressure")
    return server


@pytest.fixture
def session(server):
    """A session that commits each statement."""
    connection = server.connect("pressure")
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@pytest.fixture
def blocker(server):
    """A session whose lock keeps the mover from the table."""
    connection = server.connect("pressure", autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
    yield connection
    connection.close()


def test_writers_are_delayed_until_the_mover_catches_up(server, blocker, session):
    """Above the limit statements are delayed, health() says so, and the delay ends with the backlog."""
    for _ in range(LIMIT // 500):
        session.execute(_INSERT)
    assert _metric(server, "writes_delayed_total") == 0
    for _ in range(8):
        session.execute(_INSERT)
    session.execute("UPDATE t SET i = i + 1 WHERE i = 500")
    assert _metric(server, "writes_delayed_total") >= 7
    assert _metric(server, "write_delay_milliseconds_total") >= 7
    assert _metric(server, "row_store_rows") >= 5 * LIMIT
    detail = server.scalar("""SELECT detail FROM orochi.health() WHERE "check" = 'row store' AND status = 'warn'""",
                           database="pressure")
    assert "delayed" in detail
    blocker.rollback()
    process.wait_until(lambda: _metric(server, "row_store_rows") < LIMIT, 20, "the mover catches up", 0.1)
    delayed = _metric(server, "writes_delayed_total")
    session.execute("INSERT INTO t VALUES (1)")
    assert _metric(server, "writes_delayed_total") == delayed
    assert server.scalar("SELECT count(*) FROM t", database="pressure") == str(LIMIT + 8 * 500 + 1)


def test_a_delay_can_be_cancelled(blocker, session):
    """The timeout of a statement holds while it waits, and nothing of it stays."""
    del blocker
    for _ in range(8):
        session.execute(_INSERT)
    session.execute("SET statement_timeout = 20")
    with pytest.raises(psycopg2.errors.QueryCanceled):
        session.execute("INSERT INTO t VALUES (-1)")
    session.execute("SET statement_timeout = 0")
    session.execute("SELECT count(*) FROM t WHERE i = -1")
    assert session.fetchone()[0] == "0"


def test_rolled_back_rows_do_not_count_for_ever(server, session):
    """Rows that are not there do not delay anybody once the mover has looked."""
    session.execute("BEGIN")
    for _ in range(10):
        session.execute(_INSERT)
    session.execute("ROLLBACK")
    session.execute("INSERT INTO t VALUES (1)")
    process.wait_until(lambda: _metric(server, "row_store_rows") < LIMIT, 20, "the mover looks", 0.1)


def test_nobody_waits_for_a_mover_that_is_off(server, blocker, session):
    """With the mover off a delay would help nobody."""
    del blocker
    server.configure({"orochi.mover_enabled": "off"})
    server.reload()
    process.wait_until(lambda: server.scalar("SHOW orochi.mover_enabled") == "off", 10, "the setting arrives", 0.1)
    delayed = _metric(server, "writes_delayed_total")
    for _ in range(8):
        session.execute(_INSERT)
    assert _metric(server, "writes_delayed_total") == delayed
