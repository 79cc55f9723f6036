"""Writers that change both tables of a pair in one transaction, so that every snapshot must see them equal.

Two rules keep the pair equal whatever the interleaving: a statement on several rows runs under REPEATABLE READ, where
both tables are seen as of the same moment; a statement on one row locks that row first, always in the same table. Where there is
no row to lock, another transaction may commit one between the two statements; then the first is run again.
"""

import io

import psycopg2.extensions

from . import settings
from .actors import Actor, Divergence

#: Columns of the pair that writers expect.
COLUMNS = "k bigint PRIMARY KEY, v bigint NOT NULL, g int, s text, n numeric"
INDEXES = ("CREATE INDEX {}_g ON {} (g)",)
SHARED_KEYS = 2000
_ROW = "i, i %% 1000, i %% 17, 'text ' || i %% 100, i / 3.0"


class Writer(Actor):
    """Does a random mixture of changes; keys up to SHARED_KEYS are contended, others are its own."""

    def __init__(self, server, database, pair, number, seed, bulk_rows=3000):
        super().__init__(server, database, f"writer{number}", seed)
        self.pair, self.bulk_rows = pair, bulk_rows
        self.next_key = (number + 1) * 10**12 + self.random.randrange(10**9) * 100
        self.savepoints = 0

    def turn(self):
        """One transaction."""
        # A key range is not used again after a crash: whether its last commit survived is unknown.
        several_rows = self.random.random() < 0.35
        self.connection.set_session(isolation_level="REPEATABLE READ" if several_rows else "READ COMMITTED", autocommit=False)
        with self.connection.cursor() as cursor:
            for _ in range(self.random.choice((1, 1, 1, 2, 4))):
                self._maybe_undone(cursor, self._many if several_rows else self._one)
        if self.random.random() < 0.08:
            self.connection.rollback()
        else:
            self.connection.commit()

    def _maybe_undone(self, cursor, change):
        dice = self.random.random()
        if dice > 0.3:
            change(cursor)
            return
        self.savepoints += 1
        cursor.execute(f"SAVEPOINT s{self.savepoints}")
        change(cursor)
        cursor.execute(f"{'ROLLBACK TO' if dice < 0.12 else 'RELEASE'} s{self.savepoints}")

    def _both(self, cursor, sql, parameters=None, tables=("h", "c")):
        """Runs a statement on both tables; what it returns and how many rows it changes has to agree."""
        seen = [self._seen(cursor, sql, parameters, prefix) for prefix in tables]
        read_committed = self.connection.isolation_level == psycopg2.extensions.ISOLATION_LEVEL_READ_COMMITTED
        if read_committed and seen[0][0] == 0 < seen[1][0]:
            # The row is ours in the second table now, so nobody can have taken it away again from the first.
            seen[0] = self._seen(cursor, sql, parameters, tables[0])
        if seen[0] != seen[1]:
            raise Divergence(f"{sql} {parameters}: {tables[0]} {str(seen[0])[:2000]}, {tables[1]} {str(seen[1])[:2000]}")
        return seen[0]

    def _seen(self, cursor, sql, parameters, prefix):
        cursor.execute(sql.replace("{}", f"{prefix}_{self.pair}"), parameters)
        return cursor.rowcount, sorted(map(str, cursor.fetchall())) if cursor.description else None

    # One row, READ COMMITTED

    def _one(self, cursor):
        self.random.choice((self._add_one, self._change_one, self._change_one, self._upsert, self._delete_one, self._rename_one))(cursor)

    def _shared_key(self):
        key = self.random.randrange(1, SHARED_KEYS + 1)
        # Half of the keys wait for each other in the heap, half in the table under test.
        return key, ("h", "c") if key % 2 else ("c", "h")

    def _add_one(self, cursor):
        self.next_key += 1
        self._both(cursor, "INSERT INTO {} VALUES (%s, 1, 2, 'one', 3)", (self.next_key,))

    def _change_one(self, cursor):
        key, tables = self._shared_key()
        self._both(cursor, "UPDATE {} SET v = v + 1, s = s || 'x' WHERE k = %s AND length(s) < 2000 RETURNING *", (key,), tables)

    def _upsert(self, cursor):
        key, tables = self._shared_key()
        self._both(cursor, "INSERT INTO {} AS t VALUES (%s, 0, 0, 'upsert', 0) ON CONFLICT (k) DO UPDATE SET v = t.v + 1000 RETURNING *",
                   (key,), tables)

    def _delete_one(self, cursor):
        key, tables = self._shared_key()
        self._both(cursor, "DELETE FROM {} WHERE k = %s RETURNING *", (key,), tables)

    def _rename_one(self, cursor):
        key, tables = self._shared_key()
        self.next_key += 1
        self._both(cursor, "UPDATE {} SET k = %s WHERE k = %s RETURNING *", (self.next_key, key), tables)

    # Many rows, REPEATABLE READ

    def _many(self, cursor):
        self.random.choice((self._insert_many, self._copy_many, self._update_many, self._delete_many, self._move_many))(cursor)

    def _range(self):
        count = self.random.choice((5, 300, self.bulk_rows))
        first = self.next_key + 1
        self.next_key += count
        return first, self.next_key

    def _insert_many(self, cursor):
        self._both(cursor, f"INSERT INTO {{}} SELECT {_ROW} FROM generate_series(%s::bigint, %s::bigint) i", self._range())

    def _copy_many(self, cursor):
        first, last = self._range()
        text = "".join(f"{k}\t{k % 7}\t{k % 5}\tcopied {k}\t\\N\n" for k in range(first, last + 1))
        for prefix in ("h", "c"):
            cursor.copy_expert(f"COPY {prefix}_{self.pair} FROM STDIN", io.StringIO(text))

    def _update_many(self, cursor):
        self._both(cursor, "UPDATE {} SET v = v + 7, n = n + 1 WHERE g = %s AND k %% 50 = %s", (self.random.randrange(17), self.random.randrange(50)))

    def _delete_many(self, cursor):
        self._both(cursor, "DELETE FROM {} WHERE k > %s AND k %% 40 = %s", (SHARED_KEYS, self.random.randrange(40)))

    def _move_many(self, cursor):
        shift = 10**6 + self.random.randrange(10**9)
        low = self.random.randrange(SHARED_KEYS)
        self._both(cursor, "UPDATE {} SET k = k + %s WHERE k BETWEEN %s AND %s", (shift, low, low + 40))


class Locker(Actor):
    """Holds row locks of every strength for a moment."""

    def __init__(self, server, database, pair, number, seed):
        super().__init__(server, database, f"locker{number}", seed)
        self.pair = pair

    def turn(self):
        """Locks some rows of both tables, which have to return the same rows when none is skipped."""
        strength = self.random.choice(("UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"))
        low = self.random.randrange(SHARED_KEYS)
        self.connection.set_session(isolation_level="REPEATABLE READ", autocommit=False)
        with self.connection.cursor() as cursor:
            seen = []
            for prefix in ("h", "c"):
                cursor.execute(f"SELECT * FROM {prefix}_{self.pair} WHERE k BETWEEN %s AND %s ORDER BY k FOR {strength}", (low, low + 5))
                seen.append(cursor.fetchall())
        self.pause(self.random.random() * 0.02)
        self.connection.rollback()
        if seen[0] != seen[1]:
            raise Divergence(f"FOR {strength}: heap {seen[0]}, {settings.ACCESS_METHOD} {seen[1]}")
        self.pause(0.005)
