"""Random queries of the query fuzzer, made of parts so that a failing one can be made smaller."""

import dataclasses
import random
from dataclasses import dataclass, field

from .querygen_aggregate import Aggregates, Item
from .querygen_condition import Expr, normal
from .querygen_from import Scope, Sources
from .querygen_risk import risky

_DIRECTIONS = ("", "", " DESC", " NULLS FIRST", " DESC NULLS LAST")
#: How a query is run: as it is, with its constants as parameters, or through a cursor.
_MODES = ("plain",) * 16 + ("generic", "generic", "custom", "cursor", "scroll")


@dataclass
class Query:
    """A SELECT in parts."""

    shape: str
    items: list
    source: str
    where: list = field(default_factory=list)
    group: str = ""
    having: list = field(default_factory=list)
    order: str = ""
    limit: str = ""
    distinct: str = ""
    prefix: str = ""
    #: SQLSTATEs that it may raise; which of several depends on the order of rows.
    codes: tuple = ()
    #: Whether ORDER BY determines the whole result.
    ordered: bool = False
    mode: str = "plain"

    def sql(self):
        """The statement, constants marked."""
        parts = [f"{self.prefix}SELECT {self.distinct}{', '.join(item.sql for item in self.items)} FROM {self.source}"]
        for word, conditions in (("WHERE", self.where), ("HAVING", self.having)):
            if conditions and word == "WHERE":
                parts.append(f"WHERE {' AND '.join(f'({condition})' for condition in conditions)}")
            if word == "WHERE" and self.group:
                parts.append(f"GROUP BY {self.group}")
            if conditions and word == "HAVING":
                parts.append(f"HAVING {' AND '.join(f'({condition})' for condition in conditions)}")
        return " ".join([*parts, *([f"ORDER BY {self.order}"] if self.order else []), *([self.limit] if self.limit else [])])

    def smaller(self):
        """Queries with one part less."""
        for name in ("where", "having", "items"):
            parts = getattr(self, name)
            for index in range(len(parts) if name != "items" or len(parts) > 1 else 0):
                yield dataclasses.replace(self, **{name: parts[:index] + parts[index + 1:]})
        if self.limit:
            yield dataclasses.replace(self, limit="")
        if self.order and not self.limit and "DISTINCT ON" not in self.distinct:
            yield dataclasses.replace(self, order="", ordered=False)
        if self.mode != "plain":
            yield dataclasses.replace(self, mode="plain")


class Queries(Sources):
    """Writes queries over the tables of a schema."""

    def __init__(self, schema, seed):
        super().__init__(schema, random.Random(seed))

    def query(self):
        """The next query."""
        r = self.random
        makers = ((self._rows, 18), (self._total, 14), (self._groups, 24), (self._distinct, 6), (self._ties, 7), (self._union, 5),
                  (self._window, 6), (self._nested, 8), (self._lateral, 4), (self._risky, 6))
        query = r.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]()
        query.mode = r.choice(_MODES)
        return query

    # Queries without groups

    def _items(self, scope, most=5):
        return [Item(scope.any(2).sql) for _ in range(self.random.randrange(1, most + 1))]

    def _scope(self, join=0.4, most=6000):
        return self._joined(most) if self.random.random() < join else self._single()

    def _sorted(self, query, keys, limit=True):
        """Orders the query by keys, the last of which make the order total."""
        r = self.random
        query.order, query.ordered = ", ".join(key + r.choice(_DIRECTIONS) for key in keys), True
        if limit and r.random() < 0.7:
            query.limit = f"LIMIT {r.choice((1, 5, 10, 100, 1500))}" + (f" OFFSET {r.choice((1, 7, 1030))}" if r.random() < 0.2 else "")
        return query

    def _rows(self):
        scope = self._scope()
        query = Query("rows", self._items(scope), scope.source, self._where(scope))
        if scope.rows > 3000:
            query.where.append(f"coalesce(a.id, 0) % {self.random.choice((3, 7))} = {self.random.randrange(3)}")
        if self.random.random() < 0.08:
            query.items.append(Item(self._correlated(scope)))
        if self.random.random() < 0.08 and (grouped := self._grouped(scope)):
            query.items.append(Item(f"{grouped}::text"))
        if self.random.random() < 0.35:
            keys = [scope.any(1).sql for _ in range(self.random.randrange(3))]
            self._sorted(query, keys + scope.identity)
        return query

    def _correlated(self, scope):
        table = self._table(min(60, 300_000 // (scope.rows + 1)))
        inner = Scope(self.random, "", self._columns("x", table), table.rows, [])
        name = self._key(scope).sql
        sql = (f"(SELECT {self.random.choice(('count(*)', 'max(x.id)', 'sum(x.id)'))} FROM {table.name} x"
               f" WHERE x.{name.split('.')[1]} >= {name} AND {inner.condition(1)})")
        # Few rows look all of a large table over.
        return sql if scope.rows * table.rows < 300_000 else f"CASE WHEN a.id % 40 = 1 THEN {sql} END"

    def _ties(self):
        """The first rows by keys that are not unique, of which only the keys are determined."""
        scope = self._scope(0.2)
        keys = [scope.of(scope.column().family, self.random.choice((0, 0, 1))) for _ in range(self.random.randrange(1, 4))]
        query = Query("top", [Item(normal(key)) for key in keys], scope.source, self._where(scope))
        # A constant may not stand alone in ORDER BY, and parentheses do not change what is sorted.
        self._sorted(query, [f"({key.sql})" for key in keys], limit=False)
        query.limit = f"LIMIT {self.random.choice((1, 3, 10, 50, 1100))}" + (" OFFSET 5" if self.random.random() < 0.2 else "")
        return query

    def _distinct(self):
        scope = self._scope(0.3)
        keys = [scope.any(self.random.choice((0, 1))) for _ in range(self.random.randrange(1, 4))]
        if self.random.random() < 0.4:
            query = Query("distinct on", [Item(normal(keys[0])), *self._items(scope, 3)], scope.source, self._where(scope),
                          distinct=f"DISTINCT ON ({keys[0].sql}) ")
            self._sorted(query, [keys[0].sql, *scope.identity])
            return query
        query = Query("distinct", [Item(normal(key)) for key in keys], scope.source, self._where(scope), distinct="DISTINCT ")
        return self._sorted(query, [item.sql for item in query.items]) if self.random.random() < 0.3 else query

    # Aggregates

    def _total(self):
        scope = self._scope(0.35, 20_000)
        return Query("aggregate", Aggregates(scope).items(self.random.randrange(1, 6)), scope.source, self._where(scope))

    def _groups(self):
        r = self.random
        scope = self._scope(0.4, 20_000)
        keys = {key.sql: key for key in (scope.any(r.choice((0, 0, 1, 2))) for _ in range(r.choice((1, 1, 2, 2, 3))))}
        aggregates = Aggregates(scope)
        items = [Item(normal(key)) for key in keys.values()] + aggregates.items(r.randrange(1, 5))
        query = Query("groups", items, scope.source, self._where(scope))
        grouped = [f"({name})" for name in keys]
        query.group = ", ".join(grouped)
        # A constant is not set to NULL by grouping sets, while a parameter is.
        if r.random() < 0.12 and all(any(column.sql in name for column in scope.columns) for name in keys):
            sets = ", ".join((*grouped, f"({', '.join(grouped)})", "()")[:len(grouped) + r.choice((0, 1, 2))])
            query.group = r.choice((f"ROLLUP ({query.group})", f"CUBE ({query.group})", f"GROUPING SETS ({sets})"))
            query.items.append(Item(f"grouping({grouped[0]})"))
        if r.random() < 0.25:
            query.having.append(aggregates.condition())
        if query.group == ", ".join(grouped) and r.random() < 0.3:
            self._sorted(query, grouped)
        return query

    def _window(self):
        r = self.random
        scope = self._scope(0.2, 3000)
        order = ", ".join([scope.any(0).sql, *scope.identity])
        part = f"PARTITION BY {scope.any(r.choice((0, 1))).sql} " if r.random() < 0.7 else ""
        number = scope.of("int", 1)
        calls = ("row_number()", "rank()", f"lag({number.sql}) ", f"sum({number.sql})", "count(*)", f"first_value({number.sql})",
                 f"max({number.sql})", "ntile(5)")
        frame = r.choice(("", "", " ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING"))
        items = [Item(f"{r.choice(calls)} OVER ({part}ORDER BY {order}{frame})") for _ in range(r.randrange(1, 3))]
        return Query("window", self._items(scope, 2) + items, scope.source, self._where(scope))

    # Queries over queries

    def _derived(self, alias):
        """A grouped query to select from, with the columns that it offers."""
        r = self.random
        scope = self._single("i")
        key, number = scope.column(), scope.of("int", 1)
        if key.family == "text":
            # The text of a char(n) is that of its column, and its collation stays.
            key = key.but(type="text") if key.type.startswith("char") else key
        items = [Item(f"{normal(key)} AS k"), Item("count(*) AS n"), Item(f"max({number.sql}) AS m"), Item(f"sum({number.sql}) AS s")]
        sql = Query("derived", items, scope.source, self._where(scope, 1), key.sql, [Aggregates(scope).condition()] * (r.random() < 0.2)).sql()
        total = number.bound * 5000
        small = number.type in ("int2", "int4")
        numbers = Expr(f"{alias}.s", "int", "int8", total) if small else Expr(f"{alias}.s", "numeric", "numeric", float(total))
        columns = [key.but(sql=f"{alias}.k", table=None, type=key.type.partition("(")[0]),
                   Expr(f"{alias}.n", "int", "int8", 10**6, pool=("1", "2", "5", "20")), number.but(sql=f"{alias}.m", pool=(), table=None), numbers]
        return sql, Scope(r, alias, columns, min(scope.rows, key.distinct or 20) + 1, [f"{alias}.k"])

    def _nested(self):
        r = self.random
        sql, scope = self._derived("d")
        prefix = ""
        if r.random() < 0.5:
            prefix, source = f"WITH d AS {r.choice(('', 'MATERIALIZED ', 'NOT MATERIALIZED '))}({sql}) ", "d"
        else:
            source = f"({sql}) d"
        if r.random() < 0.4:
            table = self._table()
            other = self._columns("a", table)
            join = next(column for column in other if column.sql == "a.id")
            source += f" {r.choice(('JOIN', 'LEFT JOIN'))} {table.name} a ON {r.choice(('d.n', 'd.m'))} = {join.sql}"
            scope.columns += other
            scope.rows += table.rows
        scope.source = source
        if r.random() < 0.5:
            query = Query("nested", Aggregates(scope, ordered=False).items(r.randrange(1, 4)), source, self._conditions(scope), prefix=prefix)
        else:
            query = Query("nested", self._items(scope, 4), source, self._conditions(scope), prefix=prefix)
        return query

    def _conditions(self, scope):
        return [scope.condition(1) for _ in range(self.random.choice((0, 1, 1, 2)))]

    def _lateral(self):
        r = self.random
        outer = self._single(most=1100 if r.random() < 0.5 else 60)
        table = self._table(60 if outer.rows > 60 else 10**9)
        if outer.rows * table.rows > 300_000:
            outer.source = f"(SELECT * FROM {outer.source} WHERE a.id % 40 = 1) a"
        inner = Scope(r, "", self._columns("x", table), table.rows, [])
        key = self._key(outer)
        link = f"x.{key.sql.split('.')[1]} = {key.sql}"
        body = r.choice((f"SELECT count(*) AS n, max(x.id) AS m FROM {table.name} x WHERE {link} AND {inner.condition(1)}",
                         f"SELECT x.kf::int8 AS n, x.id AS m FROM {table.name} x WHERE {link} AND {inner.condition(1)} ORDER BY x.id LIMIT 2"))
        outer.columns += [Expr("l.n", "int", "int8", 10**6), Expr("l.m", "int", "int8", 10**6)]
        source = f"{outer.source} {r.choice(('CROSS JOIN LATERAL', 'LEFT JOIN LATERAL'))} ({body}) l"
        source += " ON true" if "LEFT JOIN LATERAL" in source else ""
        return Query("lateral", self._items(outer, 3) + [Item("l.n"), Item("l.m")], source, self._conditions(outer))

    def _union(self):
        r = self.random
        first, second = self._scope(0.1), self._scope(0.1)
        families = {column.family for column in first.columns} & {column.family for column in second.columns}
        names = [r.choice(sorted(families)) for _ in range(r.randrange(1, 4))]
        branches = []
        for scope in (first, second):
            exprs = [scope.of(name, r.choice((0, 0, 1))) for name in names]
            items = [Item(f"{_bytewise(expr)} AS u{n}") for n, expr in enumerate(exprs)]
            branches.append(Query("branch", items, scope.source, self._where(scope, 1)).sql())
        word = r.choice(("UNION", "UNION", "UNION ALL", "EXCEPT", "EXCEPT ALL", "INTERSECT", "INTERSECT ALL"))
        source = f"({branches[0]} {word} {branches[1]}) u"
        if r.random() < 0.3:
            return Query("set", [Item("count(*)"), Item("count(u.u0)")], source)
        return Query("set", [Item(f"u.u{n}") for n in range(len(names))], source)

    # Errors

    def _risky(self):
        """A query over one table that may raise an error; every row that WHERE leaves is evaluated, whatever the plan."""
        r = self.random
        table = self._table()
        scope = Scope(r, f"{table.name} a", self._columns("a", table), table.rows, ["a.id"])
        expr, codes = risky(scope)
        dice = r.random()
        where = self._conditions(scope)
        if dice < 0.35:
            return Query("risk", [Item("a.id"), Item(expr)], scope.source, where, codes=codes)
        if dice < 0.5:
            return Query("risk", [Item("count(*)")], scope.source, [f"({expr}) IS NOT NULL"], codes=codes)
        query = Query("risk", [Item(f"count({expr})"), Item("count(*)")], scope.source, where, codes=codes)
        if dice < 0.75:
            key = scope.column("int", "bool", "text", "date")
            query.items.insert(0, Item(normal(key)))
            query.group = key.sql
        return query


def _bytewise(expr):
    """An output of a branch of UNION: texts under one collation, whatever that of their columns."""
    return f'{normal(expr)} COLLATE "C"' if expr.family == "text" else normal(expr)
