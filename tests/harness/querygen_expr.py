"""Random typed expressions of the query fuzzer that raise no error whatever order they are evaluated in, and conditions made of them."""

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
             "text": ("", "a", "k00007", "oak 5", "x%"), "bool": ("t", "f"), "date": ("2000-01-01", "2012-02-29"), "timestamp": ("2020-01-01", "2025-05-05 05:05"),
             "timestamptz": ("2020-01-01", "2025-03-30 01:30+00"), "interval": ("1 day", "1 mon", "36 hours"), "bytea": ("\\x", "\\x00ff"),
             "uuid": ("9e3779b9-0000-0000-0000-000000000000",)}
_PLAIN = {"int": "int4", "float": "float8"}
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
            "text": f"{sql}::text" if expr.type.startswith("char") else sql}.get(expr.family, sql)


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


class Expressions:
    """Writes expressions over the columns in scope."""

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
        bound = abs(float(text)) if family in _PLAIN or family == "numeric" else None
        tame = text != "NaN"
        return Expr(f"{OPEN}{quoted(text)}::{kind}{CLOSE}", family, kind, bound if tame else 0, tame)

    def leaf(self, family):
        """A column of a family, now and then a constant."""
        found = self.column(family)
        return self._constant_expr(family) if found is None or self.maybe(0.05) else found

    # Expressions

    def any(self, depth=2):
        """An expression of any family, more likely of one that has columns."""
        return self.of(self.column().family, depth)

    def of(self, family, depth=2):
        """An expression of a family."""
        if depth <= 0 or self.maybe(0.35):
            return self.leaf(family)
        if self.maybe(0.25):
            return self._choice(family, depth - 1)
        made = {"int": self._int, "float": self._float, "numeric": self._numeric, "text": self._text, "bool": self._bool, "date": self._date,
                "timestamp": self._timestamp, "timestamptz": self._timestamptz, "interval": self._interval, "bytea": self._bytea}.get(family)
        return made(depth - 1) if made else self.leaf(family)

    def pair(self, family, depth):
        """Two expressions of a family whose collations do not clash."""
        left, right = self.of(family, depth), self.of(family, depth)
        if left.collation and right.collation and left.collation != right.collation:
            right = right.but(sql=f'({right.sql} COLLATE "C")', collation='"C"')
        return left, right

    def _choice(self, family, depth):
        a, b = self.pair(family, depth)
        sql = self.random.choice((f"CASE WHEN {self.condition(depth)} THEN {a.sql} ELSE {b.sql} END", f"coalesce({a.sql}, {b.sql})", f"nullif({a.sql}, {b.sql})",
                                  f"greatest({a.sql}, {b.sql})", f"least({a.sql}, {b.sql})", f"CASE WHEN {self.condition(depth)} THEN {a.sql} END"))
        return merged(sql, a, b)

    def _int(self, depth):
        r = self.random
        other = r.random()
        if other < 0.15:
            text = self.of("text", depth)
            return Expr(r.choice((f"length({text.sql})", f"octet_length({text.sql})", f"position('a' IN {text.sql})")), "int", "int4", 10**7)
        if other < 0.2 and (day := self.column("date")) and day.tame:
            return Expr(f"({day.sql} - '2001-01-01'::date)", "int", "int4", 10**8)
        if other < 0.25:
            return Expr(f"({self.condition(depth)})::int", "int", "int4", 1)
        a, b = self.of("int", depth), self.of("int", depth)
        wide = max(a.type, b.type)
        op = r.choice("+-*/%&|#nacmgt")
        if op == "g":
            # The guard keeps the cast or the division from rows that it would fail for.
            return Expr(f"CASE WHEN {a.sql} BETWEEN -32768 AND 32767 THEN {a.sql}::int2 END", "int", "int2", 2**15)
        if op == "t" and (text := self.column("text")):
            return Expr(f"CASE WHEN {text.sql} ~ '^[0-9]{{1,9}}$' THEN {text.sql}::int ELSE 0 END", "int", "int4", 10**9)
        if op in "+-*":
            bound = a.bound * b.bound if op == "*" else a.bound + b.bound
            if bound > LIMITS["int8"]:
                return a
            fits = bound <= LIMITS[wide]
            return Expr(f"({a.sql}{'' if fits else '::int8'} {op} {b.sql})", "int", wide if fits else "int8", bound)
        if op == "m":
            return Expr(f"({a.sql} % {r.choice((2, 3, 7, 100))})", "int", max(a.type, "int4"), 100)
        if op in "&|#":
            return Expr(f"({a.sql} {op} {b.sql})", "int", wide, LIMITS[wide] + 1)
        if a.bound > LIMITS[a.type]:
            return a
        if op in "/t":
            return Expr(f"({a.sql} / {r.choice((3, 10, -7))})", "int", max(a.type, "int4"), a.bound)
        if op == "%":
            return Expr(f"({a.sql} {r.choice('/%')} nullif({b.sql}, 0))", "int", wide, LIMITS[wide] + 1)
        if op == "c":
            to = r.choice([name for name, limit in LIMITS.items() if a.bound <= limit])
            return Expr(f"{a.sql}::{to}", "int", to, a.bound)
        return Expr(f"abs({a.sql})" if op == "a" else f"(- {a.sql})", "int", a.type, a.bound)

    def _float(self, depth):
        r = self.random
        if self.maybe(0.2):
            source = self.leaf(r.choice(("int", "numeric")))
            return Expr(f"{source.sql}::float8", "float", "float8", source.bound if source.bound < 1e12 and source.family == "int" else None, source.tame)
        a, b = self.of("float", depth), self.of("float", depth)
        op = r.choice("+-*/*nasrf")
        if op in "+-*/" and not a.wild and not b.wild:
            wide = max(a.type, b.type)
            cast = "::float8" if wide == "float4" and op in "*/" else ""
            known = a.bound is not None and b.bound is not None
            if op in "+-":
                return Expr(f"({a.sql} {op} {b.sql})", "float", wide, a.bound + b.bound if known else None, a.tame and b.tame)
            if known and a.bound * b.bound < 1e60:
                divisor = b.sql if op == "*" else f"nullif({b.sql}, 0)"
                return Expr(f"({a.sql}{cast} {op} {divisor})", "float", "float8", a.bound * b.bound if op == "*" else None, a.tame and b.tame)
        if op == "s" and not a.wild:
            return Expr(f"sqrt(abs({a.sql}))", "float", "float8", None, a.tame)
        if op in "rf" and not a.wild:
            return Expr(f"{r.choice(('round', 'floor', 'ceil', 'trunc', 'sign'))}({a.sql})", "float", "float8", None, a.tame)
        return a.but(sql=f"abs({a.sql})" if op == "a" else f"(- {a.sql})", pool=())

    def _numeric(self, depth):
        r = self.random
        if self.maybe(0.2):
            source = self.of("int", depth)
            return Expr(f"{source.sql}::numeric", "numeric", "numeric", float(source.bound))
        moment = self.column("timestamp", "timestamptz", "date", "interval")
        if self.maybe(0.15) and moment:
            units = ("year", "month", "day", "epoch") if moment.family in ("date", "interval") else ("year", "month", "day", "epoch", "hour", "dow", "week", "second")
            return Expr(f"extract({r.choice(units)} FROM {moment.sql})", "numeric", "numeric", 1e13, moment.tame)
        a, b = self.of("numeric", depth), self.of("numeric", depth)
        op, tame = r.choice("+-*/%+-*rtnacdg"), a.tame and b.tame
        if op == "g":
            return Expr(f"CASE WHEN {b.sql} <> 0 THEN {a.sql} / {b.sql} ELSE {a.sql} END", "numeric", "numeric", float("inf"), tame)
        if op in "+-":
            return Expr(f"({a.sql} {op} {b.sql})", "numeric", "numeric", a.bound + b.bound, tame)
        if op == "*" and a.bound * b.bound < 1e300:
            return Expr(f"({a.sql} * {b.sql})", "numeric", "numeric", a.bound * b.bound, tame)
        if op in "/%":
            # What a small divisor makes of it has no bound worth knowing.
            return Expr(f"({a.sql} {op} nullif({b.sql}, 0))", "numeric", "numeric", float("inf"), tame)
        if op == "d":
            return Expr(f"({a.sql} / {r.choice((3, '10.00', '0.7'))})", "numeric", "numeric", a.bound * 2, a.tame)
        if op == "c" and a.tame and a.bound < 1e15:
            return Expr(f"{a.sql}::numeric(20,{r.choice((0, 1, 4))})", "numeric", "numeric", a.bound + 1)
        if op in "rt":
            return Expr(f"{r.choice(('round', 'trunc'))}({a.sql}, {r.choice((0, 1, 2, -1))})", "numeric", "numeric", a.bound + 10, a.tame)
        return a.but(sql=f"({r.choice(('abs', '-', 'floor', 'ceil', 'trim_scale'))}({a.sql}))", type="numeric", bound=a.bound + 1, pool=())

    def _text(self, depth):
        r = self.random
        if self.maybe(0.15):
            source = self.column()
            return Expr(f"{source.sql}::text", "text", "text", collation=source.collation)
        a, b = self.pair("text", depth)
        n = r.randrange(6)
        sql = r.choice((f"upper({a.sql})", f"lower({a.sql})", f"left({a.sql}, {n})", f"right({a.sql}, {n})", f"substr({a.sql}, {n + 1}, 3)",
                        f"replace({a.sql}, 'a', 'bb')", f"reverse({a.sql})", f"lpad({a.sql}, 8, '*')", f"btrim({a.sql})", f"md5({a.sql})", f"initcap({a.sql})",
                        f"split_part({a.sql}, ' ', 1)", f"translate({a.sql}, 'aeo', 'x')", f"regexp_replace({a.sql}, '[0-9]+', '#')"))
        if self.maybe(0.3):
            return merged(r.choice((f"({a.sql} || {b.sql})", f"concat({a.sql}, '-', {b.sql})")), a, b).but(type="text")
        return Expr(sql, "text", "text", collation=a.collation)

    def _bool(self, depth):
        return Expr(f"({self.condition(depth)})", "bool", "bool")

    def _date(self, depth):
        a = self.of("date", depth)
        moment = self.column("timestamp", "timestamptz")
        if moment and self.maybe(0.3):
            return Expr(f"{moment.sql}::date", "date", "date", tame=moment.tame)
        return a.but(sql=f"({a.sql} + {self.random.choice((1, -30, 365))})", pool=())

    def _timestamp(self, depth):
        r = self.random
        day, other = self.column("date"), self.column("timestamptz")
        if day and self.maybe(0.2):
            return Expr(r.choice((f"{day.sql}::timestamp", f"({day.sql} + '1 mon'::interval)")), "timestamp", "timestamp", tame=day.tame)
        if other and self.maybe(0.2):
            return Expr(f"({other.sql} AT TIME ZONE '{r.choice(('UTC', 'Asia/Tokyo', 'America/New_York'))}')", "timestamp", "timestamp", tame=other.tame)
        return self._moved(self.of("timestamp", depth))

    def _timestamptz(self, depth):
        return self._moved(self.of("timestamptz", depth))

    def _moved(self, a):
        unit = self.random.choice(("year", "month", "week", "day", "hour", "minute"))
        step = self.random.choice(("1 day", "-1 mon", "36:00:00", "1 year 3 days"))
        return a.but(sql=self.random.choice((f"date_trunc('{unit}', {a.sql})", f"({a.sql} + '{step}'::interval)", f"({a.sql} - '{step}'::interval)")), pool=())

    def _interval(self, depth):
        r = self.random
        moment = self.column("timestamp", "timestamptz")
        if moment and moment.tame and self.maybe(0.5):
            return Expr(f"({moment.sql} - '2019-12-31 23:59:59'::{moment.type})", "interval", "interval")
        a = self.of("interval", depth)
        return a.but(sql=r.choice((f"({a.sql} * {r.choice((2, -1))})", f"({a.sql} + '1 day'::interval)", f"justify_hours({a.sql})")), pool=())

    def _bytea(self, depth):
        a = self.of("bytea", depth)
        return a.but(sql=self.random.choice((f"({a.sql} || '\\x00'::bytea)", f"substr({a.sql}, 2, 3)", f"decode(md5({a.sql}), 'hex')")), pool=())

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
        if dice < 0.43:
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
