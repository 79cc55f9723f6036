"""Readers that compare the tables of a pair inside one snapshot, and maintenance that runs beside them."""

from . import settings
from .actors import Actor, Divergence
from .twins import compare_sql


class Reader(Actor):
    """Compares inside REPEATABLE READ snapshots that it keeps for a while; `server` may be a replica."""

    def __init__(self, server, database, pair, name, seed, keep=0.5):
        super().__init__(server, database, name, seed)
        self.pair, self.keep = pair, keep

    def turn(self):
        """One snapshot: both tables equal, and the same as before, each time they are read."""
        self.connection.set_session(isolation_level="REPEATABLE READ", autocommit=False)
        first = None
        for _ in range(self.random.choice((1, 2, 3))):
            seen = self._compare()
            first = first or seen
            if seen != first:
                raise Divergence(f"snapshot changed from {first} to {seen}")
            self.pause(self.random.random() * self.keep)
        self.connection.rollback()

    def _compare(self):
        with self.connection.cursor() as cursor:
            if self.random.random() < 0.3:
                # By index as well: entries of moved rows have to lead to them.
                cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(compare_sql(self.pair, "k > 0"))
            heap, columnar = cursor.fetchone()
            cursor.execute("SET LOCAL enable_seqscan = on")
        if heap != columnar:
            raise Divergence(f"{self.name}: heap {heap}, {settings.ACCESS_METHOD} {columnar}: {self._detail()}")
        return heap

    def _detail(self):
        with self.connection.cursor() as cursor:
            found = []
            for left, right in (("h", "c"), ("c", "h")):
                cursor.execute(f"SELECT k, v, g, left(s, 30) FROM (SELECT * FROM {left}_{self.pair} EXCEPT ALL SELECT * FROM {right}_{self.pair}) d"
                               " ORDER BY k LIMIT 5")
                found.append(f"only in {left}: {cursor.fetchall()}")
        return "; ".join(found)


class StatementReader(Reader):
    """Compares under READ COMMITTED, each time in a single statement."""

    def turn(self):
        self.connection.set_session(isolation_level="READ COMMITTED", autocommit=True)
        with self.connection.cursor() as cursor:
            cursor.execute(compare_sql(self.pair, "k > 0"))
            heap, columnar = cursor.fetchone()
        if heap != columnar:
            raise Divergence(f"{self.name}: heap {heap}, {settings.ACCESS_METHOD} {columnar}")
        self.pause(0.02)


class Maintenance(Actor):
    """Repeats a statement with a pause between; `{}` stands for each table of the pair unless it names one."""

    def __init__(self, server, database, name, statements, seed, pause=0.3):
        super().__init__(server, database, name, seed)
        self.statements, self.seconds = statements, pause

    def turn(self):
        """One of the statements, in a transaction of its own."""
        with self.connection.cursor() as cursor:
            cursor.execute(self.random.choice(self.statements))
        self.pause(self.seconds * (0.5 + self.random.random()))


def vacuum(server, database, pair, seed, pause=1.0):
    """VACUUM of both tables."""
    return Maintenance(server, database, "vacuum", [f"VACUUM {p}_{pair}" for p in ("h", "c")], seed, pause)


def compaction(server, database, pair, seed, pause=0.2):
    """The mover, called by a user; for a heap a VACUUM takes its place."""
    statement = f"CALL orochi.columnar_compact('c_{pair}')" if settings.COLUMNAR else f"VACUUM c_{pair}"
    return Maintenance(server, database, "compaction", [statement], seed, pause)
