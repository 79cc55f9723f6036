"""A random schema of the query fuzzer: the steps that make its tables as heaps in schema h and as columnar tables in schema c."""

import random
from dataclasses import dataclass

from . import settings
from .querygen_data import KINDS, METHOD, Column, Table, column_values

ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin")


@dataclass
class Step:
    """A statement; with data it is a COPY. `only` names the schema that it is for."""

    sql: str
    data: str = None
    only: str = None


def quoted(text):
    """A string constant."""
    return "'" + text.replace("'", "''") + "'"


def literal(column, text):
    """A constant of a column's type; casts do not take a collation."""
    return f"{quoted(text)}::{column.kind.type.split(' COLLATE')[0]}"


class Schema:
    """Tables with rows, all of it decided by the seed."""

    def __init__(self, seed):
        self.seed = seed
        self.random = r = random.Random(f"{seed}/tables")
        self.zone = r.choice(ZONES)
        few, many = r.choice((3, 10, 40)), r.choice((300, 1500, 4000))
        self.steps = [Step("CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")]
        self.tables = []
        count = r.randrange(2, 5)
        for number in range(count):
            # The first table is the large one. The last is small, so that there is something to join that stays small.
            rows = r.choice((1500, 2100, 3300, 4400)) if number == 0 else r.choice((0, 1, 30, 300, 1023, 1025, 1500, 2500))
            self._table(f"t{number}", rows if number == 0 or number < count - 1 or count == 2 and r.random() < 0.6 else min(rows, 60), few, many)

    def _step(self, sql, data=None, only=None):
        self.steps.append(Step(sql, data, only))

    def _table(self, name, rows, few, many):
        r = self.random
        table = Table(r, name, rows, few, many)
        self.tables.append(table)
        mixed = len(self.tables) > 1 and r.random() < 0.1
        cut = rows if r.random() < 0.4 else rows - r.randrange(min(rows, 700) + 1)
        doomed = r.random() < 0.3
        definition = table.definition() + (", doomed int DEFAULT 7" if doomed and r.random() < 0.5 else "")
        if doomed and "doomed" not in definition:
            definition = "doomed text DEFAULT 'gone', " + definition
        self._step(f"CREATE TABLE {name} ({definition}) USING heap", only="h")
        parts = self._parts(name, definition, mixed)
        if not mixed and r.random() < 0.4:
            self._options(table, parts)
        if r.random() < 0.3:
            self._step(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
        elif r.random() < 0.3:
            self._step(f"CREATE INDEX ON {name} ({r.choice(('kf', 'km', 'id'))})")
        self._load(table, 0, cut)
        if not mixed and r.random() < 0.8:
            self._compact(parts)
        if doomed:
            self._step(f"ALTER TABLE {name} DROP COLUMN doomed")
        for number in range(r.choice((0, 0, 1, 2))):
            self._late(table, f"late{number}", cut)
        if r.random() < 0.4:
            self._changes(table)
            if not mixed and r.random() < 0.3:
                self._compact(parts)
        self._load(table, cut, rows)
        if r.random() < 0.3:
            self._changes(table)
        if r.random() < 0.6:
            self._step(f"ANALYZE {name}")

    def _parts(self, name, definition, mixed):
        """Makes the table of schema c, now and then in partitions. Returns the names of those that are columnar."""
        r = self.random
        if mixed or r.random() < 0.85:
            self._step(f"CREATE TABLE {name} ({definition}) USING {'heap' if mixed else METHOD}", only="c")
            return [] if mixed else [name]
        self._step(f"CREATE TABLE {name} ({definition}) PARTITION BY RANGE (id)", only="c")
        edges = ["MINVALUE", *sorted(r.sample(range(2, 3000), r.choice((1, 2)))), "MAXVALUE"]
        parts = [f"{name}_p{number}" for number in range(len(edges) - 1)]
        methods = [METHOD if number == 0 or r.random() < 0.8 else "heap" for number in range(len(parts))]
        for part, method, low, high in zip(parts, methods, edges, edges[1:]):
            self._step(f"CREATE TABLE {part} PARTITION OF {name} FOR VALUES FROM ({low}) TO ({high}) USING {method}", only="c")
        return [part for part, method in zip(parts, methods) if method == METHOD]

    def _options(self, table, parts):
        r = self.random
        names = [column.name for column in table.columns]
        order = ", ".join(f"{name}{r.choice(('', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'))}" for name in r.sample(names, r.randrange(1, 3)))
        options = [f"order_by => {quoted(order)}", f"segment_by => {quoted(', '.join(r.sample(names, r.randrange(1, 3))))}",
                   "stripe_row_limit => 1000", f"compression => '{r.choice(('none', 'lz4', 'zstd'))}'", "bloom_filter => 'kf, km, kt'"]
        chosen = ", ".join(r.sample(options, r.randrange(1, 4)))
        for part in parts:
            self._step(f"SELECT orochi.columnar_set_options('c.{part}', {chosen})", only="c")

    def _compact(self, parts):
        for part in parts:
            self._step(f"CALL orochi.columnar_compact('c.{part}')", only="c")

    def _load(self, table, first, last):
        if first < last:
            names = ", ".join(column.name for column in table.columns)
            self._step(f"COPY {table.name} ({names}) FROM STDIN", table.copy_text(first, last))

    def _late(self, table, name, cut):
        r = self.random
        column = Column(name, r.choice(KINDS))
        values = column_values(r, column.kind, table.rows)
        column.learn(values)
        default = r.choice((None, *column.pool[:1]))
        clause = "" if default is None else f" DEFAULT {literal(column, default)}"
        self._step(f"ALTER TABLE {table.name} ADD COLUMN {name} {column.kind.type}{clause}")
        table.values.append([default] * cut + values[cut:])
        table.columns.append(column)

    def _changes(self, table):
        r = self.random
        name = table.name
        for _ in range(r.randrange(1, 4)):
            low = r.randrange(table.rows + 1)
            where = r.choice((f"id % {r.choice((2, 7, 50))} = 1",
                              f"id BETWEEN {low} AND {low + r.choice((5, 100, 1100))}", f"id IN ({low}, {low + 3})"))
            if r.random() < 0.4:
                self._step(f"DELETE FROM {name} WHERE {where}")
                continue
            # Keys stay as they are: a join by a key that half of the rows have would be large.
            columns = r.sample(table.columns[4:], min(len(table.columns) - 4, r.randrange(1, 4)))
            values = [literal(column, r.choice(column.pool)) if column.pool and r.random() < 0.8 else "NULL" for column in columns]
            assignments = [f"{column.name} = {value}" for column, value in zip(columns, values)]
            self._step(f"UPDATE {name} SET {', '.join(assignments)} WHERE {where}")

    def fitting(self, icu):
        """The steps, without what the server or the access method under test does not have."""
        for step in self.steps:
            sql = step.sql.replace(METHOD, settings.ACCESS_METHOD)
            if not icu:
                sql = sql.replace('COLLATE "und-x-icu"', 'COLLATE "C"').replace("COLLATE caseless", 'COLLATE "C"')
            if (settings.COLUMNAR or "orochi." not in sql) and (icu or "CREATE COLLATION" not in sql):
                yield Step(sql, step.data, step.only)

    def script(self, icu):
        """A script for psql that makes both schemas."""
        lines = ["CREATE EXTENSION IF NOT EXISTS orochi;"] if settings.COLUMNAR else []
        lines += ["CREATE SCHEMA h; CREATE SCHEMA c;", f"SET timezone = '{self.zone}';"]
        for side in ("h", "c"):
            lines.append(f"SET search_path = {side};")
            for step in self.fitting(icu):
                if step.only in (None, side):
                    lines.append(f"{step.sql};" if step.data is None else f"{step.sql};\n{step.data}\\.")
        return "\n".join(lines)
