"""Columns, constants and conditions of the query fuzzer's expressions."""

import dataclasses
import re
from dataclasses import dataclass

from . import randomtypes
from .querygen_schema import quoted

#: Constants stand between these, so that a query can be written with parameters in their places.
OPEN, CLOSE = "⟦", "⟧"
LIMITS = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "<", ">=")
#: The family's constants where no column lends its own.
_DEFAULTS = {"int": ("0", "1", "-3", "7", "100"), "float": ("0", "1.5", "-2", "NaN", "1e6"), "numeric": ("0", "1.10", "-2.5", "100", "0.001"),
             "text": ("", "a", "k00007", "oak 5", "x%"), "bool": ("t", "f"), "date": ("2000-01-01", "2012-02-29"),
             "timestamp": ("2020-01-01", "2025-05-05 05:05"),
             "timestamptz": ("2020-01-01", "2025-03-30 01:30+00"), "interval": ("1 day", "1 mon", "36 hours"), "bytea": ("\\x", "\\x00ff"),
             "caseless": ("oak 0", "OAK 1", "elm 2"), "uuid": ("9e3779b9-0000-0000-0000-000000000000",)}
_PLAIN = {"int": "int4", "float": "float8", "caseless": "text"}
_RANDOM = {kind.sql: kind.literal for kind in randomtypes.TYPES}
_RANDOM_NAMES = {"int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real", "float8": "double precision", "bool": "boolean"}


@dataclass(frozen=True)
class Expr:
    """An expression: its family decides what it can be combined with."""

    sql: str
    family: str
    type: str
    #: Greatest magnitude of numbers; None where none is known.
    bound: float = None
    #: Whether all values are finite.
    tame: bool = True
    #: Floats at the limits of their type: they are compared, not computed with.
    wild: bool = False
    collation: str = ""
    pool: tuple = ()
    distinct: int = 0
    table: object = None

    def but(self, **changes):
        """A copy with changes."""
        return dataclasses.replace(self, **changes)


def reference(alias, column, table=None):
    """A column in the scope of a query."""
    base, _, collation = column.kind.type.partition(" COLLATE ")
    family = column.kind.family
    bound, wild = column.bound if family in ("int", "float", "numeric") else None, False
    if family == "float" and any(float(value) != 0 and not 1e-6 <= abs(float(value)) <= 1e12 and abs(float(value)) != float("inf")
                                 for value in column.pool if value != "NaN"):
        bound, wild = None, True
    return Expr(f"{alias}.{column.name}", family, base, bound, column.tame, wild, collation, tuple(column.pool[:200]), column.distinct, table)


def normal(expr, sql=None):
    """The expression with one text for all equal values: which of them stands for a group or is the least is not determined."""
    sql = sql or expr.sql
    return {"numeric": f"trim_scale({sql})", "float": f"({sql} + '0'::{expr.type})", "interval": f"justify_interval({sql})",
            "caseless": f"lower({sql})", "text": f"{sql}::text"}.get(expr.family, sql)


def plain(sql):
    """The query with its constants where they are."""
    return sql.replace(OPEN, "").replace(CLOSE, "")


def parameterised(sql):
    """The query with parameters, their types and their values; equal constants share one, as GROUP BY needs it."""
    values = {}

    def number(match):
        return f"${values.setdefault(match.group(1), len(values) + 1)}"
    text = re.sub(f"{OPEN}(.*?){CLOSE}", number, sql, flags=re.S)
    return text, [value.rpartition("::")[2] for value in values], list(values)


class Conditions:
    """Writes conditions over the columns in scope; what makes the expressions in them is Expressions."""

    def __init__(self, random, columns):
        self.random = random
        self.columns = list(columns)

    def maybe(self, share):
        """True that often."""
        return self.random.random() < share

    # Leaves

    def column(self, *families):
        """A column of one of the families, or None."""
        found = [column for column in self.columns if not families or column.family in families]
        return self.random.choice(found) if found else None

    def constant(self, expr, type_name=None):
        """A constant to compare an expression with: mostly one that it may be equal to."""
        r = self.random
        type_name = type_name or expr.type
        name = _RANDOM_NAMES.get(type_name, type_name)
        if self.maybe(0.06) and name in _RANDOM:
            made = _RANDOM[name](r)
            if len(made) < 200:
                return f"{OPEN}{made}{CLOSE}"
        pool = expr.pool or _DEFAULTS[expr.family]
        return f"{OPEN}{quoted(r.choice(pool))}::{type_name}{CLOSE}"

    def _constant_expr(self, family):
        text, kind = self.random.choice(_DEFAULTS[family]), _PLAIN.get(family, family)
        bound = abs(float(text)) if family in ("int", "float", "numeric") else None
        tame = text != "NaN"
        return Expr(f"{OPEN}{quoted(text)}::{kind}{CLOSE}", family, kind, bound if tame else 0, tame)

    def leaf(self, family):
        """A column of a family, now and then a constant."""
        found = self.column(family)
        return self._constant_expr(family) if found is None or self.maybe(0.05) else found

    # Conditions

    def condition(self, depth=2):
        """A condition; half of them are ranges, which are true of many rows."""
        dice = self.random.random()
        if depth > 0 and dice < 0.25:
            return f"({self.condition(depth - 1)} {self.random.choice(('AND', 'OR', 'OR'))} {self.condition(depth - 1)})"
        if depth > 0 and dice < 0.3:
            return f"NOT ({self.condition(depth - 1)})"
        if dice < 0.36 and (flag := self.column("bool")):
            return flag.sql + self.random.choice(("", "", " IS NOT TRUE", " IS FALSE", " IS UNKNOWN", " IS NOT FALSE"))
        return self.comparison(self.any(depth - 1), depth)

    def comparison(self, a, depth=1):
        """A condition on an expression."""
        r = self.random
        dice = r.random()
        negation = r.choice(("", "", "NOT "))
        if dice < 0.08:
            return f"{a.sql} IS {r.choice(('', 'NOT ', 'NOT '))}NULL"
        if dice < 0.16:
            return f"{a.sql} IS {r.choice(('', 'NOT ', 'NOT '))}DISTINCT FROM {self.constant(a)}"
        if dice < 0.3:
            low, high = (self.constant(a) for _ in range(2))
            return f"{a.sql} {negation}BETWEEN {r.choice(('', 'SYMMETRIC ', 'SYMMETRIC '))}{low} AND {high}"
        if dice < 0.4:
            values = [self.constant(a) for _ in range(r.choice((1, 2, 5, 12)))] + ["NULL"] * self.maybe(0.05)
            return f"{a.sql} {negation}IN ({', '.join(values)})"
        if dice < 0.42:
            b = self.leaf(self.column().family)
            rows = [f"({self.constant(a)}, {self.constant(b)})" for _ in range(2)]
            right = f"{negation}IN ({', '.join(rows)})" if self.maybe(0.4) else f"{r.choice(COMPARISONS)} {rows[0]}"
            return f"({a.sql}, {b.sql}) {right}"
        if dice < 0.45:
            return f"{a.sql} {r.choice(('= ANY', '<> ALL', '< ANY'))} (ARRAY[{', '.join(self.constant(a) for _ in range(3))}])"
        if a.family == "text" and dice < 0.65:
            return self._matching(a, negation)
        if depth > 0 and dice < 0.62:
            b = self.of(a.family, depth - 1)
            clash = a.collation and b.collation and a.collation != b.collation
            return f"{a.sql} {r.choice(COMPARISONS)} {b.sql}" + (' COLLATE "C"' if clash else "")
        return f"{a.sql} {r.choice(COMPARISONS)} {self.constant(a, self._relative(a))}"

    def _matching(self, a, negation):
        r = self.random
        pattern = self._stem(a).replace("\\", "").replace("%", "").replace("_", "")
        like = r.choice((f"%{pattern}%", f"{pattern}%", f"%{pattern}", f"{pattern[:1]}_%{pattern[-1:]}%", "%", f"%{pattern[:1]}%{pattern[-1:]}"))
        if self.maybe(0.7):
            return f"{a.sql} {negation}{r.choice(('LIKE', 'LIKE', 'ILIKE'))} {OPEN}{quoted(like)}::text{CLOSE}"
        expression = re.sub(r"\W", ".", pattern)
        return f"{a.sql} {r.choice(('~', '~*', '!~'))} {OPEN}{quoted(r.choice((expression, '^' + expression, '[0-9]{2}', 'a|k$')))}::text{CLOSE}"

    def _stem(self, a):
        text = self.random.choice(a.pool or _DEFAULTS["text"])
        start = self.random.randrange(len(text) + 1)
        return text[start:start + self.random.choice((1, 2, 4))]

    def _relative(self, a):
        """Another type that values of this one compare with, now and then."""
        if self.maybe(0.75):
            return a.type
        return self.random.choice({"int": ("int8", "numeric"), "numeric": ("numeric", "float8") if a.tame else ("numeric",), "float": ("float8",),
                                   "date": ("timestamp", "timestamptz"), "timestamp": ("timestamptz", "timestamp"), "timestamptz": ("timestamptz",),
                                   "text": ("text",) if a.type != "text" else ("varchar",)}.get(a.family, (a.type,)))


def merged(sql, a, b):
    """What is known of an expression whose values are those of two others."""
    bound = None if a.bound is None or b.bound is None else max(a.bound, b.bound)
    kind = max(a.type, b.type) if a.family in ("int", "float") else a.type if a.type == b.type else a.family
    return Expr(sql, a.family, kind, bound, a.tame and b.tame, a.wild or b.wild, a.collation or b.collation, a.pool or b.pool)
