"""Random statements on one table, written with `¤` for its name so that they can run on both tables of a pair."""

from dataclasses import dataclass

from . import randomtypes

_OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


@dataclass
class Column:
    """A column that exists now."""

    name: str
    type: randomtypes.Type


class Generator:
    """Keeps track of the columns of a table and writes statements that fit them."""

    def __init__(self, random, types):
        self.random = random
        self.types = list(types)
        self.columns = [Column(f"c{n}", kind) for n, kind in enumerate(self.types)]
        self.next_column = len(self.columns)
        self.next_id = 1
        self.indexes = 0
        # Values used before: predicates draw from them, so that they match something.
        self.used = {}

    def create(self):
        """Column definitions of the table."""
        return ", ".join(["id bigint PRIMARY KEY", *(f"{c.name} {c.type.sql}" for c in self.columns)])

    # Expressions

    def value(self, column, null=0.15):
        """A literal for a column."""
        if self.random.random() < null:
            return "NULL"
        pool = self.used.setdefault(column.type.sql, [])
        if pool and self.random.random() < 0.5:
            return self.random.choice(pool)
        literal = column.type.literal(self.random)
        if len(literal) < 400:
            pool.append(literal)
            del pool[:-30]
        return literal

    def predicate(self, depth=2):
        """A condition on the table."""
        dice = self.random.random()
        if depth and dice < 0.25:
            return f"({self.predicate(depth - 1)} {self.random.choice(('AND', 'OR'))} {self.predicate(depth - 1)})"
        if depth and dice < 0.3:
            return f"NOT ({self.predicate(depth - 1)})"
        if dice < 0.5:
            return self._on_id()
        column = self.random.choice(self.columns)
        return self._on_column(column)

    def _on_id(self):
        low = self.random.randrange(self.next_id + 1)
        return self.random.choice((f"id = {low}", f"id BETWEEN {low} AND {low + self.random.choice((5, 200, 2000))}", f"id % 7 = {low % 7}",
                                   f"id IN ({low}, {low + 1}, {low + 50})", f"id > {low}"))

    def _on_column(self, column):
        dice, name = self.random.random(), column.name
        if dice < 0.2 or not column.type.ordered:
            return f"{name} IS {self.random.choice(('', 'NOT '))}NULL" if dice < 0.3 else f"{name}::text LIKE '%{self.random.randrange(10)}%'"
        value = self.value(column, null=0.02)
        if "text" in column.type.tags and dice < 0.35:
            return f"{name} LIKE '%{self.random.choice('abzx17')}%'"
        if "contains" in column.type.tags and dice < 0.4:
            return f"{name} @> {value}"
        if dice < 0.5:
            return f"{name} IN ({value}, {self.value(column, 0)})"
        if dice < 0.6:
            return f"{name} IS DISTINCT FROM {value}"
        if dice < 0.7:
            return f"{name} BETWEEN {value} AND {self.value(column, 0)}"
        return f"{name} {self.random.choice(_OPERATORS)} {value}"

    def _some(self, most=4, condition=lambda column: True):
        columns = [column for column in self.columns if condition(column)]
        return self.random.sample(columns, min(len(columns), self.random.randrange(1, most + 1)))

    # Changes

    def insert(self):
        """A few rows; sometimes with a key that exists."""
        columns = self._some(len(self.columns))
        rows = []
        for _ in range(self.random.choice((1, 1, 3, 20))):
            identifier = self.random.randrange(1, self.next_id + 1) if self.random.random() < 0.1 else self.next_id
            self.next_id += 1
            rows.append(f"({identifier}, {', '.join(self.value(c) for c in columns)})")
        names = ", ".join(c.name for c in columns)
        ending = self.random.choice(("", "", "", " ON CONFLICT DO NOTHING", " RETURNING id, " + names, self._upsert(columns[0])))
        return f"INSERT INTO ¤ AS t (id, {names}) VALUES {', '.join(rows)}{ending}"

    def _upsert(self, column):
        # A key twice in one statement is an error for both tables, which is a case too.
        return f" ON CONFLICT (id) DO UPDATE SET {column.name} = excluded.{column.name} WHERE t.id % 3 > 0 RETURNING *"

    def bulk(self):
        """More rows than stay in the row store."""
        rows = self.random.choice((5, 12))
        columns = self._some(len(self.columns))
        values = ", ".join(f"({n}, {', '.join(self.value(c) for c in columns)})" for n in range(rows))
        count = self.random.choice((1100, 1500, 2500))
        start = self.next_id
        self.next_id += count
        names = ", ".join(c.name for c in columns)
        casts = ", ".join(f"v.{c.name}::{c.type.sql}" for c in columns)
        return (f"INSERT INTO ¤ (id, {names}) SELECT {start} + i, {casts} FROM generate_series(0, {count - 1}) i"
                f" JOIN (VALUES {values}) v (n, {names}) ON v.n = i % {rows}")

    def update(self):
        """Some columns of the rows that match, by literals or from each other; rarely with an error on the way."""
        assignments = []
        for column in self._some(3):
            twins = [c.name for c in self.columns if c.type.sql == column.type.sql]
            source = self.random.choice(twins) if self.random.random() < 0.2 else self.value(column)
            assignments.append(f"{column.name} = {source}")
        dice = self.random.random()
        if dice < 0.08:
            assignments.append(f"id = id + {10**9 + self.random.randrange(10**9)}")
        elif dice < 0.12:
            assignments.append(f"id = id / (id - {self.random.randrange(self.next_id + 1)}) * 0 + id")
        returning = " RETURNING *" if self.random.random() < 0.3 else ""
        return f"UPDATE ¤ SET {', '.join(assignments)} WHERE {self.predicate()}{returning}"

    def delete(self):
        """Part of the rows that match."""
        returning = " RETURNING *" if self.random.random() < 0.3 else ""
        return f"DELETE FROM ¤ WHERE {self.predicate()} AND id % {self.random.choice((3, 10, 50))} = 0{returning}"

    def merge(self):
        """MERGE with a source of known keys."""
        column = self.random.choice(self.columns)
        low = self.random.randrange(self.next_id + 1)
        return (f"MERGE INTO ¤ t USING generate_series({low}, {low + 30}) s (n) ON t.id = s.n"
                f" WHEN MATCHED AND s.n % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET {column.name} = {self.value(column)}"
                f" WHEN NOT MATCHED AND s.n % 2 = 0 THEN INSERT (id, {column.name}) VALUES (s.n, {self.value(column)})")

    # Queries

    def select(self):
        """A query with a result that does not depend on the order of rows."""
        where = self.predicate()
        names = ", ".join(c.name for c in self._some(6))
        dice = self.random.random()
        if dice < 0.3:
            return f"SELECT id, {names} FROM ¤ WHERE {where}"
        if dice < 0.45:
            return f"SELECT count(*), {', '.join(f'count({c.name})' for c in self.columns)} FROM ¤ WHERE {where}"
        if dice < 0.6:
            sums = [f"sum({c.name}), avg({c.name})::numeric(60,3)" for c in self._some(3, lambda c: c.type.sums)]
            return f"SELECT {', '.join(['count(*)', 'min(id)', 'max(id)', *sums])} FROM ¤ WHERE {where}"
        if dice < 0.75:
            column = self.random.choice([c for c in self.columns if c.type.ordered] or [Column("id", None)])
            # As text: which of two equal values (0 and -0, 1.0 and 1.00) stands for a group depends on the order of rows.
            return f"SELECT {column.name}::text, count(*), min(id), sum(id) FROM ¤ WHERE {where} GROUP BY {column.name}::text"
        if dice < 0.85:
            return f"SELECT id, {names} FROM ¤ WHERE {where} ORDER BY id {self.random.choice(('', 'DESC'))} LIMIT {self.random.randrange(1, 40)}"
        if dice < 0.95:
            return f"SELECT a.id, b.id FROM ¤ a LEFT JOIN ¤ b ON b.id = a.id + 1 WHERE a.id % 5 = 0"
        return f"SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM ¤ t WHERE {where}"

    def locking(self):
        """SELECT with row locks."""
        strength = self.random.choice(("UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"))
        low = self.random.randrange(self.next_id + 1)
        return f"SELECT id FROM ¤ WHERE id BETWEEN {low} AND {low + 20} FOR {strength}"

    # Definitions

    def definition(self):
        """DDL; only outside a transaction that has pending changes is it free of waits, which callers see to."""
        return self.random.choice((self._add_column, self._drop_column, self._change_type, self._add_index, self._add_index, self._drop_index,
                                   self._truncate, self._rewrite))()

    def _add_column(self):
        column = Column(f"c{self.next_column}", self.random.choice(self.types))
        self.next_column += 1
        self.columns.append(column)
        default = self.random.choice(("", f" DEFAULT {self.value(column, 0)}"))
        return f"ALTER TABLE ¤ ADD COLUMN {column.name} {column.type.sql}{default}"

    def _drop_column(self):
        if len(self.columns) < 8:
            return self._add_column()
        column = self.columns.pop(self.random.randrange(len(self.columns)))
        return f"ALTER TABLE ¤ DROP COLUMN {column.name}"

    def _change_type(self):
        column = self.random.choice(self.columns)
        if column.type.sql == "text":
            return f"ALTER TABLE ¤ ALTER {column.name} SET STORAGE {self.random.choice(('EXTERNAL', 'MAIN', 'EXTENDED'))}"
        column.type = next(kind for kind in randomtypes.TYPES if kind.sql == "text")
        return f"ALTER TABLE ¤ ALTER {column.name} TYPE text USING left({column.name}::text, 500)"

    def _add_index(self):
        # Values that are too long for an index entry are kept out by the text types' own choice of columns.
        column = self.random.choice([c for c in self.columns if c.type.index and "text" not in c.type.tags and c.type.sql not in ("bytea", "jsonb", "text[]")])
        self.indexes += 1
        return f"CREATE INDEX ¤_i{self.indexes} ON ¤ USING {column.type.index} ({column.name})"

    def _drop_index(self):
        return f"DROP INDEX IF EXISTS ¤_i{self.random.randrange(1, self.indexes + 2)}"

    def _truncate(self):
        return "TRUNCATE ¤" if self.random.random() < 0.15 else self._add_index()

    def _rewrite(self):
        return self.random.choice(("CLUSTER ¤ USING ¤_pkey", "VACUUM FULL ¤", "REINDEX TABLE ¤", "ALTER TABLE ¤ SET (fillfactor = 80)"))

    def maintenance(self):
        """Commands that cannot run inside a transaction."""
        return self.random.choice(("VACUUM ¤", "VACUUM (FREEZE) ¤", "ANALYZE ¤", "VACUUM FULL ¤"))
