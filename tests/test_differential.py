"""Random statements on a heap and on a columnar table: rows, counts, SQLSTATE and constraint of errors stay equal."""

import random
import re
import threading
from collections import Counter

from harness import randomtypes, settings, twins
from harness.actors import Cast
from harness.randomsql import Column, Generator
from harness.readers import Reader, StatementReader, compaction, vacuum
from harness.session import perform
from harness.writers import COLUMNS, INDEXES, SHARED_KEYS, Writer

STREAMS = 3
#: Statements of all streams; each runs on both tables.
STATEMENTS = settings.size(480, 21_000)
#: A pair of tables is given up after that many statements and a new one made.
PER_TABLE = 120
CHECK_EVERY = 40
CONCURRENT_SECONDS = settings.size(12, 300)
_PLANS = ("enable_seqscan", "enable_indexscan", "enable_bitmapscan", "enable_hashjoin", "enable_hashagg", "enable_sort")


class Stream:
    """One session with a pair of its own."""

    def __init__(self, server, database, name, seed, types):
        self.random = random.Random(seed)
        self.server, self.name, self.types = server, name, types
        self.session = server.connect(database, name=name, options={"statement_timeout": "120s"})
        self.history = []
        self.outcomes = Counter()
        self.failure = None
        self.in_transaction, self.isolation = False, None
        self.savepoints = 0
        self.generator = None
        # Columns by savepoint, 0 for the start of the transaction: a rollback brings old columns back.
        self.states = {}

    def run(self, statements):
        """Runs the stream; a failure is kept with the statements that led to it."""
        try:
            done = 0
            while done < statements:
                done += self._table(min(PER_TABLE, statements - done))
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"stream {self.name}: {error}\nlast statements:\n" + "\n".join(self.history[-12:])
        finally:
            self.session.close()

    def _table(self, statements):
        types = self.types if self.random.random() < 0.6 else self.random.sample(self.types, 12)
        self.generator = Generator(self.random, types)
        with self.session.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS h_{self.name}, c_{self.name}")
            twins.create(cursor, self.name, self.generator.create())
        for number in range(1, statements + 1):
            self._step()
            if number % CHECK_EVERY == 0:
                self._check()
        self._end_transaction("COMMIT")
        self._check()
        return statements

    def _step(self):
        dice = self.random.random()
        make = self.generator
        if dice < 0.12:
            self._transaction_control()
        elif dice < 0.17 and not self.in_transaction:
            self._outside()
        elif dice < 0.21:
            sql = make.definition()
            # PostgreSQL's CLUSTER of a heap loses rows whose update was rolled back to a savepoint of the same transaction.
            if not (self.in_transaction and sql.startswith("CLUSTER")):
                self._both(sql)
        else:
            self._both(self.random.choice((make.insert, make.insert, make.insert, make.bulk, make.update, make.update, make.delete, make.merge,
                                           make.select, make.select, make.select, make.locking))())

    def _transaction_control(self):
        if not self.in_transaction:
            self.isolation = self.random.choice(("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"))
            self._plain(f"BEGIN ISOLATION LEVEL {self.isolation}")
            self.in_transaction, self.savepoints = True, 0
        elif self.random.random() < 0.5:
            self._end_transaction(self.random.choice(("COMMIT", "COMMIT", "ROLLBACK")))
        elif self.savepoints and self.random.random() < 0.6:
            word = self.random.choice(("ROLLBACK TO", "RELEASE"))
            number = self.random.randrange(1, self.savepoints + 1)
            before = self.states[number]
            self._plain(f"{word} s{number}")
            self.savepoints = number if word == "ROLLBACK TO" else number - 1
            if word == "ROLLBACK TO":
                self._restore(before)
        else:
            self.savepoints += 1
            self._plain(f"SAVEPOINT s{self.savepoints}")
            self.states[self.savepoints] = self._state()

    def _state(self):
        return [(column.name, column.type) for column in self.generator.columns]

    def _restore(self, state):
        self.generator.columns = [Column(name, kind) for name, kind in state]

    def _end_transaction(self, word):
        if not self.in_transaction:
            return
        self._plain(word)
        self.in_transaction = False
        if word == "ROLLBACK":
            self._restore(self.states[0])

    def _plain(self, sql):
        self.history.append(sql)
        if sql.startswith("BEGIN"):
            self.states = {0: self._state()}
        outcome = perform(self.session, sql)
        assert outcome.error is None, f"{sql}: {outcome}"

    def _outside(self):
        dice = self.random.random()
        if dice < 0.5 and settings.COLUMNAR:
            self._plain(f"CALL orochi.columnar_compact('c_{self.name}')")
        elif dice < 0.7:
            self._plain(f"SET {self.random.choice(_PLANS)} = {self.random.choice(('on', 'off'))}")
        elif dice < 0.75 and settings.COLUMNAR:
            self._plain(f"SET orochi.row_store_rows = {self.random.choice((0, 10, 1000))}")
        else:
            self._both(self.generator.maintenance())

    def _both(self, sql):
        before = self._state()
        outcomes = []
        for prefix in ("h", "c"):
            text = sql.replace("¤", f"{prefix}_{self.name}")
            self.history.append(text if len(text) < 4000 else text[:4000] + " ...")
            outcomes.append(self._guarded(text))
        if outcomes[0].error:
            self._forget(sql, before)
        self.outcomes[outcomes[0].error[0] if outcomes[0].error else "ok"] += 1
        heap, columnar = map(self._comparable, outcomes)
        assert heap == columnar, f"{sql[:3000]}\nheap: {str(outcomes[0])[:3000]}\n{settings.ACCESS_METHOD}: {str(outcomes[1])[:3000]}"

    def _guarded(self, text):
        """Inside a transaction an error must not end it: each statement gets a savepoint, which may stay open."""
        if not self.in_transaction:
            return perform(self.session, text)
        perform(self.session, "SAVEPOINT guard")
        outcome = perform(self.session, text)
        if outcome.error:
            perform(self.session, "ROLLBACK TO guard")
        if outcome.error or len(text) % 10 > 0:
            perform(self.session, "RELEASE guard")
        return outcome

    def _forget(self, sql, before):
        if re.match(r"ALTER TABLE", sql):
            self._restore(before)

    @staticmethod
    def _comparable(outcome):
        rows = Counter(map(tuple, outcome.rows)) if outcome.rows is not None else None
        error = None
        if outcome.error:
            # Constraints are named after their table, whose first letter differs.
            error = (outcome.error[0], (outcome.error[1] or "")[1:])
        return outcome.status, rows, error

    def _check(self):
        # An old snapshot sees anchors that the mover has removed since, beside those that were made anew: they are frozen from the start.
        old_snapshot = self.in_transaction and self.isolation != "READ COMMITTED"
        with self.session.cursor() as cursor:
            found = twins.difference(cursor, self.name, keys=not old_snapshot)
        assert found is None, str(found)[:4000]


def _types(server, database):
    try:
        server.query("SELECT '<a/>'::xml", database=database)
        return [*randomtypes.TYPES, randomtypes.XML]
    except Exception:  # pylint: disable=broad-except
        return randomtypes.TYPES


def test_random_statements(server, database):
    """Several streams at once, each on a pair of its own with up to 57 column types."""
    server.query(randomtypes.PREPARATION, database=database)
    types = _types(server, database)
    assert len(types) >= 40
    streams = [Stream(server, database, f"s{n}", f"{settings.SEED}/{n}", types) for n in range(STREAMS)]
    threads = [threading.Thread(target=stream.run, args=(STATEMENTS // STREAMS,), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = sum((stream.outcomes for stream in streams), Counter())
    print(dict(outcomes))
    failures = [stream.failure for stream in streams if stream.failure]
    assert not failures, f"OROCHI_SEED={settings.SEED}\n" + "\n\n".join(failures)


def test_concurrent_writers(server, database):
    """Writers that meet on the same rows of one pair, both tables changed in each transaction."""
    connection = server.connect(database)
    with connection.cursor() as cursor:
        twins.create(cursor, "w", COLUMNS, INDEXES)
        for prefix in ("h", "c"):
            cursor.execute(f"INSERT INTO {prefix}_w SELECT i, 0, i %% 17, 'start', i FROM generate_series(1, %s) i", (SHARED_KEYS,))
    connection.close()
    seed = settings.SEED
    actors = [Writer(server, database, "w", number, seed) for number in range(6)]
    actors += [Reader(server, database, "w", "reader", seed), StatementReader(server, database, "w", "statements", seed),
               vacuum(server, database, "w", seed), compaction(server, database, "w", seed)]
    with Cast(actors) as cast:
        cast.play(CONCURRENT_SECONDS)
    print(cast.summary())
    twins.assert_equal(server, "w", database)
    twins.assert_index_agrees(server, "w", "k", database)
