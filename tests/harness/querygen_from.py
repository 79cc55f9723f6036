"""FROM and WHERE of the query fuzzer: tables, joins, subqueries, semi and anti joins."""

from .querygen_aggregate import MINIMAL
from .querygen_condition import reference
from .querygen_expr import Expressions


class Scope(Expressions):
    """FROM with the columns that it offers, how many rows it has about, and what orders them totally."""

    def __init__(self, r, source, columns, rows, identity):
        super().__init__(r, columns)
        self.source, self.rows, self.identity = source, rows, identity


class Sources:
    """Writes FROM and WHERE over the tables of a schema."""

    def __init__(self, schema, random):
        self.random = random
        self.tables = schema.tables

    def _table(self, most=10**9):
        weights = [(table.rows <= most) * (1 + (table.rows > 100)) for table in self.tables]
        return self.random.choices(self.tables, weights)[0] if any(weights) else self.tables[-1]

    def _columns(self, alias, table):
        return [reference(alias, column, table) for column in table.columns]

    def _single(self, alias="a", most=10**9):
        table = self._table(most)
        columns = self._columns(alias, table)
        source = f"{table.name} {alias}"
        dice = self.random.random()
        if dice < 0.06:
            inner = Expressions(self.random, columns)
            source = f"(SELECT * FROM {table.name} {alias} WHERE {inner.condition(1)}) {alias}"
        elif dice < 0.1:
            limit = f"LIMIT {self.random.choice((10, 500, 2000))} OFFSET {self.random.choice((0, 3, 1100))}"
            source = f"(SELECT * FROM {table.name} ORDER BY id {limit}) {alias}"
        return Scope(self.random, source, columns, table.rows, [f"{alias}.id"])

    def _joined(self, most):
        """Two to four tables, about so many rows at most."""
        r = self.random
        scope = self._single()
        for alias in "bcd"[:r.choice((1, 1, 1, 2, 2, 3))]:
            self._join(scope, alias, most)
        return scope

    def _join(self, scope, alias, most):
        r = self.random
        table = self._table() if scope.rows < most else self._table(60)
        right = {column.sql.split(".")[1]: column for column in self._columns(alias, table)}
        left = {name: column for column in scope.columns for name in [column.sql.split(".")[1]] if name in ("kf", "km", "kt", "id")}
        name = r.choice(("kf", "km", "km", "km", "kt", "id"))
        if scope.rows * table.rows / max(1, left[name].distinct, right[name].distinct) > most:
            name = "id"
        a, b = left[name], right[name]
        kind = r.choice(("JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"))
        clash = a.collation != b.collation
        condition = f"{a.sql} = {b.sql}" + (' COLLATE "C"' if clash else "")
        dice = r.random()
        if dice < 0.15 and len(scope.identity) == 1 and not clash:
            condition = None
        elif dice < 0.3 and kind != "FULL JOIN" and name == "km":
            condition = r.choice((f"{a.sql} = {b.sql} + 1", f"{a.sql} % 1000 = {b.sql} % 1000", f"{b.sql} = {left['id'].sql}",
                                  f"{a.sql}::text = {b.sql}::text"))
        elif dice < 0.4 and name != "kf":
            condition += f" AND {left['kf'].sql} = {right['kf'].sql}"
        scope.columns += right.values()
        if condition and kind != "FULL JOIN" and r.random() < 0.25:
            condition += f" AND {scope.condition(1)}"
        scope.source += f" {kind} {table.name} {alias} " + (f"ON {condition}" if condition else f"USING ({name})")
        scope.rows = int(max(scope.rows * table.rows / max(1, a.distinct, b.distinct), scope.rows, table.rows))
        scope.identity.append(f"{alias}.id")

    # WHERE

    def _where(self, scope, most=3):
        r = self.random
        conditions = [scope.condition() for _ in range(r.choice((0, 1, 1, 1, 2, 2, most)))]
        if r.random() < 0.15:
            conditions.append(self._semi(scope))
        if r.random() < 0.05:
            conditions.append(self._scalar(scope))
        if r.random() < 0.08 and (grouped := self._grouped(scope)):
            left = (scope.column("int", "numeric") or scope.columns[0]).sql
            conditions.append(f"{left} {r.choice(('<', '>=', '<>'))} {grouped}" if grouped.endswith("::numeric") else f"{grouped} IS NOT NULL")
        return conditions

    def _key(self, scope):
        return self.random.choice([column for column in scope.columns if column.sql.split(".")[1] in ("kf", "km")])

    def _semi(self, scope):
        """A semi or anti join: true of rows that have a partner, or none, in another table."""
        r = self.random
        table, key = self._table(), self._key(scope)
        inner = Scope(r, "", self._columns("x", table), table.rows, [])
        name = key.sql.split(".")[1]
        condition = f" AND {inner.condition(1)}" if r.random() < 0.6 else ""
        dice = r.random()
        if dice < 0.4:
            return f"{'NOT ' * (r.random() < 0.5)}EXISTS (SELECT 1 FROM {table.name} x WHERE x.{name} = {key.sql}{condition})"
        if dice < 0.8:
            return f"{key.sql} IN (SELECT x.{name} FROM {table.name} x WHERE true{condition})"
        small = self._table(60)
        return f"{key.sql} NOT IN (SELECT x.{name} FROM {small.name} x WHERE x.{name} IS NOT NULL AND x.id % 3 = 0)"

    def _scalar(self, scope):
        """A condition with a scalar subquery."""
        a = scope.column("int", "date", "timestamp", "numeric") or scope.columns[0]
        if a.table is None:
            return scope.comparison(a)
        name, function = a.sql.split(".")[1], self.random.choice(("min", "max"))
        return f"{a.sql} {self.random.choice(('<', '<=', '>=', '<>'))} (SELECT {function}(x.{name}) FROM {a.table.name} x WHERE x.id % 5 > 0)"

    def _grouped(self, scope):
        """An aggregate of the rows of a table that have the key of a row, which can be computed for all keys at once; None if that takes too long otherwise."""
        r = self.random
        table = self._table(300_000 // (scope.rows + 1))
        if table.rows * scope.rows > 600_000:
            return None
        inner = Scope(r, "", self._columns("x", table), table.rows, [])
        keys = {self._key(scope).sql for _ in range(r.choice((1, 1, 2)))}
        links = [r.choice((f"x.{key.split('.')[1]} = {key}", f"{key} = x.{key.split('.')[1]}")) for key in sorted(keys)]
        conditions = [inner.comparison(inner.column(), 0) for _ in range(r.choice((0, 0, 1, 2)))]
        of = inner.column("int", "numeric") or inner.column()
        number, anything = of.sql if of.family in ("int", "numeric") else "x.id", inner.column().sql
        least = (inner.column(*MINIMAL) or of).sql
        filtered = f" FILTER (WHERE {inner.comparison(inner.column(), 0)})" if r.random() < 0.2 else ""
        call = r.choice((f"count(*){filtered}::numeric", f"count({anything}){filtered}::numeric", f"count(DISTINCT {anything}){filtered}::numeric",
                         f"(coalesce(sum({number}){filtered}, 0) * 2 + count(*))::numeric", f"(0.2 * avg({number}){filtered})::numeric",
                         f"max({least}){filtered}", f"min({least}){filtered}", f"CASE WHEN count(*) > 1 THEN sum({number}){filtered} END::numeric"))
        made = f"(SELECT {call.removesuffix('::numeric')} FROM {table.name} x WHERE {' AND '.join(links + conditions)})"
        return made + ("::numeric" if call.endswith("::numeric") else "")
