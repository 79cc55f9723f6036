"""Servers killed with signal 9 in the middle of everything: after recovery both tables of each pair are equal."""

import psycopg2
import pytest

from harness import settings, twins
from harness.actors import Cast
from harness.readers import Reader, StatementReader, compaction, vacuum
from harness.writers import COLUMNS, INDEXES, SHARED_KEYS, Writer

ROUNDS = settings.size(5, 100)
SECONDS = settings.size(2.5, 8)
WRITERS = 4
PAIR = "crash"


@pytest.fixture
def primary(make_server):
    """A server whose autovacuum and checkpoints are so eager that a crash meets them."""
    config = {"autovacuum_naptime": "1s", "checkpoint_timeout": "30s", "max_wal_size": "64MB", "min_wal_size": "32MB",
              "full_page_writes": "on", "shared_buffers": "16MB", "wal_keep_size": "2GB"}
    if settings.COLUMNAR:
        config["orochi.mover_naptime_ms"] = "100"
    server = make_server(config=config, name="crash")
    server.create_database(PAIR)
    connection = server.connect(PAIR)
    with connection.cursor() as cursor:
        twins.create(cursor, PAIR, COLUMNS, INDEXES)
        for prefix in ("h", "c"):
            cursor.execute(f"INSERT INTO {prefix}_{PAIR} SELECT i, 0, i %% 17, 'start', i FROM generate_series(1, %s) i", (SHARED_KEYS,))
    connection.close()
    return server


def _cast(primary, replica, number):
    # A seed of its own for each round: key ranges are not used twice.
    seed = f"{settings.SEED}/{number}"
    actors = [Writer(primary, PAIR, PAIR, writer, seed) for writer in range(WRITERS)]
    actors += [Reader(primary, PAIR, PAIR, "reader", seed), Reader(replica, PAIR, PAIR, "replica_reader", seed, keep=1.0),
               StatementReader(replica, PAIR, PAIR, "replica_statements", seed),
               vacuum(primary, PAIR, PAIR, seed, pause=0.5), compaction(primary, PAIR, PAIR, seed, pause=0.2)]
    return Cast(actors)


def _check(server, where):
    twins.assert_equal(server, PAIR, PAIR, where)
    twins.assert_index_agrees(server, PAIR, "k", PAIR)


def _trim(primary):
    """Keeps the tables small enough that a round is about crashes and not about scans. Readers of the next round may still see
    the replica before this, but only all of it or nothing."""
    connection = primary.connect(PAIR, autocommit=False)
    with connection.cursor() as cursor:
        for prefix in ("h", "c"):
            cursor.execute(f"DELETE FROM {prefix}_{PAIR} WHERE k > {SHARED_KEYS}")
    connection.commit()
    connection.close()


def test_crash_rounds(primary, copies):
    """Load, kill everything, recover, compare; with readers on a streaming replica throughout."""
    replica = primary.replica(config={"max_standby_streaming_delay": "5s"})
    copies.append(replica)
    for number in range(ROUNDS):
        feedback = "on" if number % 2 == 0 else "off"
        replica.configure({"hot_standby_feedback": feedback})
        replica.reload()
        cast = _cast(primary, replica, number)
        with cast:
            cast.play(SECONDS)
            if number % 4 == 3:
                replica.crash()
            primary.crash()
            primary.start()
            if number % 4 == 3:
                replica.start()
            cast.play(SECONDS / 4)
        print(f"round {number}: {cast.summary()}")
        _check(primary, f"round {number}, primary")
        primary.wait_for_replay(replica)
        _check(replica, f"round {number}, replica, feedback {feedback}")
        if number % 10 == 9:
            _trim(primary)
    assert primary.scalar("SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database") == "0"


def test_base_backup(primary, copies):
    """A base backup taken under load, restored, holds equal tables; and its pages pass the checksum program."""
    cast = _cast(primary, primary, "backup")
    with cast:
        cast.play(SECONDS / 2)
        copy = primary.backup("restored")
        copies.append(copy)
        cast.play(SECONDS / 4)
    copy.start()
    _check(copy, "restored backup")
    copy.query(f"INSERT INTO c_{PAIR} SELECT i, 0, 0, 'after', 0 FROM generate_series(500000000000000000, 500000000000002000) i", database=PAIR)
    copy.stop()
    copy.run("pg_checksums", "--check", "-D", copy.data)
    copy.start()
    assert copy.scalar(f"SELECT count(*) FROM c_{PAIR} WHERE s = 'after'", database=PAIR) == "2001"


def test_promoted_replica(primary, copies):
    """A replica promoted when its primary dies goes on writing where it was."""
    replica = primary.replica()
    copies.append(replica)
    cast = _cast(primary, replica, "promotion")
    with cast:
        cast.play(SECONDS / 2)
        cast.stop()
        primary.wait_for_replay(replica)
        primary.crash()
    replica.query("SELECT pg_promote()")
    _check(replica, "promoted")
    cast = _cast(replica, replica, "promoted")
    with cast:
        cast.play(SECONDS / 2)
    _check(replica, "promoted and written")


def test_unlogged_and_temporary(primary):
    """A crash empties unlogged tables, which then work; a clean restart keeps their rows."""
    am = settings.ACCESS_METHOD
    primary.query(f"CREATE UNLOGGED TABLE u (a int PRIMARY KEY, b text) USING {am}", database=PAIR)
    fill = "INSERT INTO u SELECT i, 'x' || i FROM generate_series(1, 5000) i"
    primary.query(fill, database=PAIR)
    primary.restart()
    assert primary.scalar("SELECT count(*) FROM u", database=PAIR) == "5000"
    primary.crash()
    primary.start()
    assert primary.scalar("SELECT count(*) FROM u", database=PAIR) == "0"
    primary.query(fill, database=PAIR)
    primary.query("UPDATE u SET b = 'y' WHERE a < 3000", database=PAIR)
    assert primary.scalar("SELECT count(*) FROM u WHERE b = 'y'", database=PAIR) == "2999"
    primary.query("ALTER TABLE u SET LOGGED", database=PAIR)
    primary.crash()
    primary.start()
    assert primary.scalar("SELECT count(*) FROM u WHERE b = 'y'", database=PAIR) == "2999"


def test_prepared_transaction_survives(primary):
    """A prepared transaction with a load, updates and locks is there after a crash, and holds its locks."""
    connection = primary.connect(PAIR, autocommit=False)
    with connection.cursor() as cursor:
        for prefix in ("h", "c"):
            cursor.execute(f"INSERT INTO {prefix}_{PAIR} SELECT 700000000000000000 + i, 0, 0, 'prepared', 0 FROM generate_series(1, 4000) i")
            cursor.execute(f"UPDATE {prefix}_{PAIR} SET v = 99 WHERE k < 50")
            cursor.execute(f"DELETE FROM {prefix}_{PAIR} WHERE k BETWEEN 60 AND 70")
            cursor.execute(f"SELECT * FROM {prefix}_{PAIR} WHERE k = 100 FOR UPDATE")
        cursor.execute("PREPARE TRANSACTION 'survivor'")
    connection.close()
    primary.crash()
    primary.start()
    _check(primary, "before commit")
    for key in (10, 65, 100):
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            primary.query(f"SELECT * FROM c_{PAIR} WHERE k = {key} FOR UPDATE NOWAIT", database=PAIR)
    primary.query("COMMIT PREPARED 'survivor'", database=PAIR)
    _check(primary, "after commit")
    assert primary.scalar(f"SELECT count(*) FROM c_{PAIR} WHERE s = 'prepared'", database=PAIR) == "4000"
