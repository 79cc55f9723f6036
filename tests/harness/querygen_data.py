"""Random tables of the query fuzzer: kinds of columns, profiles of their data, and the statements that make both copies."""

import datetime
import uuid
from dataclasses import dataclass, field
from typing import Callable

#: Stands for the access method in CREATE TABLE; the copies of a table differ in it and in nothing else.
METHOD = "¤"
_LONG = "The quick brown fox jumps over the lazy dog. "


@dataclass(frozen=True)
class Kind:
    """A column type; `value` turns any integer into the text of a value, mostly in the order of the integers."""

    type: str
    family: str
    value: Callable
    extremes: tuple
    #: Values that follow the rules of arithmetic but no order of magnitude: infinities, NaN.
    special: tuple = ()


def _wrapped(limit, factor=1):
    return lambda i: str((i * factor + limit) % (2 * limit) - limit)


def _scaled(number, scale):
    digits = f"{abs(number):0{scale + 1}d}"
    return "-" * (number < 0) + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)


def _decimal(digits, scale):
    return lambda i: _scaled((abs(i) * 7 % 10 ** digits) * (-1 if i < 0 else 1), scale)


def _mixed(i):
    # Many values are equal and have different scales, which SQL tells apart only in their texts.
    return str(i // 3) + ("", ".0", ".000", ".50", ".1250")[i % 5]


def _word(i):
    return f"{('oak', 'Ash', 'elm', 'BIRCH', 'yew', 'Fir')[i % 6]} {i}" if i % 4 else f"{i:06d}"


def _day(i):
    return str(datetime.date(2000, 1, 1) + datetime.timedelta(days=i % 20_000 - 5_000))


def _moment(i):
    return str(datetime.datetime(2020, 1, 1) + datetime.timedelta(seconds=i % 10**7 * 977, microseconds=i % 3 * 1_000))


def _interval(i):
    # A month equals 30 days and a day 24 hours, so that equal values have different texts here as well.
    return (f"{i % 90} days", f"{i % 5} mons {i % 4 * 30} days", f"{i % 90 * 24} hours", f"{i} seconds",
            f"{i % 7 - 3} mons {i % 50 - 25} days {i} ms")[i % 5]


def _bytes(i):
    return "\\x" + f"{abs(i):08x}" * (1 + i % 3)


def _ends(digits, scale):
    return (_scaled(10 ** digits - 1, scale), _scaled(1 - 10 ** digits, scale), "0", _scaled(1, scale))


def _limits(bits):
    top = 2 ** (bits - 1)
    return tuple(str(n) for n in (-top, top - 1, 1 - top, 0, -1, 1, top // 2))


_TEXTS = ("", " ", "a", "a ", "A", "ä", "%", "_x", "back\\slash", "quo'te", "NULL", "\t", "Ünïcode ☃",
          "x" * 127, "x" * 128, _LONG * 3, _LONG * 40)
_NOT_FINITE = ("NaN", "Infinity", "-Infinity", "-0", "0")
_WIDE = ("1" + "0" * 40, "-1" + "0" * 40, "0." + "0" * 20 + "1", "9" * 18, "9" * 19, "-" + "9" * 18, "9223372036854775807", "9223372036854775808",
         "-9223372036854775809", "170141183460469231731687303715884105727", "0", "0.000", "1.10", "1.1", "1" + "0" * 300, "0." + "0" * 290 + "7")
_DAYS = ("infinity", "-infinity", "0044-03-15 BC", "9999-12-31", "2000-02-29", "1999-12-31", "1970-01-01")


def _decimal_kind(digits, scale):
    return Kind(f"numeric({digits},{scale})", "numeric", _decimal(digits, scale), (*_ends(digits, scale), "NaN"), ("NaN", "0"))


def _text_kind(sql, most=None):
    return Kind(sql, "text", lambda i: _word(i)[:most], tuple(dict.fromkeys(text[:most] for text in _TEXTS)))


KINDS = (
    Kind("int2", "int", _wrapped(2**15), _limits(16)), Kind("int4", "int", _wrapped(2**31, 3), _limits(32)),
    Kind("int8", "int", _wrapped(2**63, 1_000_003), _limits(64)), Kind("int4", "int", _wrapped(2**31), _limits(32)),
    Kind("float4", "float", lambda i: repr(i / 8), (*_NOT_FINITE, "3.4028235e38", "-3.4028235e38", "1e-45", "1.17549435e-38"), _NOT_FINITE),
    Kind("float8", "float", lambda i: repr(i * 0.37),
         (*_NOT_FINITE, "1.7976931348623157e308", "-1.7976931348623157e308", "5e-324", "1e-300"), _NOT_FINITE),
    _decimal_kind(9, 0), _decimal_kind(12, 2), _decimal_kind(18, 4), _decimal_kind(30, 10),
    Kind("numeric", "numeric", _mixed, (*_WIDE, "NaN", "Infinity", "-Infinity"), ("NaN", "Infinity", "-Infinity", "0.00")),
    _text_kind("text"), _text_kind("varchar(20)", 20), _text_kind("char(12)", 12), _text_kind('text COLLATE "C"'),
    _text_kind('text COLLATE "und-x-icu"'),
    # Equal values of this collation differ in case, so that whoever compares bytes is wrong.
    Kind("text COLLATE caseless", "caseless", lambda i: ("oak", "Oak", "OAK", "elm", "Elm")[i % 5] + f" {i // 40}", ("", "a", "A", "b", "B")),
    Kind("bool", "bool", lambda i: "ft"[i % 2], ("t", "f")),
    Kind("date", "date", _day, _DAYS, ("infinity", "-infinity")),
    Kind("timestamp", "timestamp", _moment, _DAYS, ("infinity", "-infinity")),
    Kind("timestamptz", "timestamptz", _moment, _DAYS, ("infinity", "-infinity")),
    Kind("interval", "interval", _interval, ("0", "1 mon", "30 days", "720 hours", "-1 year", "1 year -360 days", "00:00:00.000001")),
    Kind("uuid", "uuid", lambda i: str(uuid.UUID(int=i % 2**64 * 0x9E3779B97F4A7C15 % 2**128)),
         (str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1)))),
    Kind("bytea", "bytea", _bytes, ("\\x", "\\x00", "\\xff", "\\x" + "00" * 200, "\\x" + "ab" * 3000)),
)
_BY_TYPE = {kind.type: kind for kind in KINDS}


@dataclass
class Column:
    """A column and what the generator of expressions has to know of its values."""

    name: str
    kind: Kind
    #: Values without duplicates, from which literals are drawn; None is not among them.
    pool: list = field(default_factory=list)
    #: Greatest magnitude of the finite numbers.
    bound: float = 0
    #: Whether all values are finite.
    tame: bool = True
    #: Distinct values, for columns that tables are joined by.
    distinct: int = 0

    def learn(self, values):
        """Takes note of the values that the column has."""
        distinct = dict.fromkeys(value for value in values if value is not None)
        self.distinct = len(distinct)
        finite = [value for value in distinct if not any(word in value for word in ("NaN", "nf"))]
        self.tame = len(finite) == len(distinct)
        if self.kind.family in ("int", "numeric", "float"):
            # Integers exactly: the bound decides whether a sum can overflow.
            self.bound = max((abs(int(v) if self.kind.family == "int" else float(v)) for v in finite), default=0)
        self.pool = [value for value in distinct if len(value) < 200]


_PROFILES = ("constant", "few", "few", "few", "runs", "sequence", "walk", "random", "random", "sorted", "extremes", "special", "special", "null")


def _numbers(r, profile, rows):
    """Integers in the manner of a profile, one for each row."""
    start = r.choice((0, 0, 100, -1000, r.randrange(10**6)))
    if profile == "constant":
        return [start] * rows
    if profile == "few":
        count, step = r.choice((2, 3, 8, 20)), r.choice((1, 7))
        skewed = r.random() < 0.3
        return [start + step * (min(r.randrange(count), r.randrange(count)) if skewed else r.randrange(count)) for _ in range(rows)]
    if profile == "runs":
        length, spread = r.choice((10, 100, 700)), r.choice((5, 1000))
        return [start + (i // length) * 31 % spread for i in range(rows)]
    if profile == "sequence":
        step = r.choice((1, 1, 5, -2))
        return [start + step * i for i in range(rows)]
    if profile == "walk":
        values = [start]
        for _ in range(rows - 1):
            values.append(values[-1] + r.choice((-2, -1, 0, 0, 1, 3)))
        return values[:rows]
    values = [start + r.randrange(r.choice((10**4, 10**4, 10**9))) for _ in range(rows)]
    return sorted(values) if profile == "sorted" else values


def _with_nulls(r, values):
    dice = r.random()
    if dice < 0.5:
        return values
    if dice < 0.6:
        # Some vectors are all NULL, others have none.
        length = r.choice((300, 1024))
        return [None if i // length % 2 else value for i, value in enumerate(values)]
    share = r.choice((0.02, 0.3, 0.3, 0.95))
    return [None if r.random() < share else value for value in values]


def column_values(r, kind, rows):
    """Values of a new column, as COPY and literals write them."""
    profile = r.choice(_PROFILES)
    if profile == "null" and r.random() < 0.5:
        return [None] * rows
    if profile == "extremes":
        mixed = r.random() < 0.5
        return _with_nulls(r, [kind.value(r.randrange(50)) if mixed and r.random() < 0.7 else r.choice(kind.extremes) for _ in range(rows)])
    values = [kind.value(i) for i in _numbers(r, profile, rows)]
    if profile == "special" and kind.special:
        share = r.choice((0.01, 0.2))
        values = [r.choice(kind.special) if r.random() < share else value for value in values]
    if kind.family == "text" and r.random() < 0.2:
        values = [value + " " * r.randrange(3) if len(value) < 9 else value for value in values]
    return _with_nulls(r, values)


#: Types of the columns that every table has for joins: with few and with many distinct values, and texts.
_KEYS = (("kf", ("int2", "int4", "int4", "int8", "numeric", "numeric(9,0)")), ("km", ("int4", "int4", "int8", "int8", "numeric(12,2)", "numeric")),
         ("kt", ("text", "text", "varchar(20)", "char(12)", 'text COLLATE "C"')))


class Table:
    """A table with its rows, which are written in the same way to the heap and to the columnar copy."""

    def __init__(self, r, name, rows, few, many):
        self.name, self.rows = name, rows
        self.columns = [Column("id", _BY_TYPE["int8"])]
        self.values = [[str(i) for i in range(1, rows + 1)]]
        for key, types in _KEYS:
            column = Column(key, _BY_TYPE[r.choice(types)])
            self.columns.append(column)
            self.values.append(self._key(r, column.kind, few if key == "kf" else many))
        for number in range(r.randrange(5, 12)):
            column = Column(f"c{number}", r.choice(KINDS))
            self.columns.append(column)
            self.values.append(column_values(r, column.kind, rows))
        for column, values in zip(self.columns, self.values):
            column.learn(values)

    def _key(self, r, kind, distinct):
        sorted_by_key, nulls = r.random() < 0.3, r.choice((0, 0, 0.05))
        numbers = [r.randrange(distinct) for _ in range(self.rows)]
        numbers = sorted(numbers) if sorted_by_key else numbers
        values = [f"k{n:05d}" if kind.family == "text" else str(n) for n in numbers]
        return [None if r.random() < nulls else value for value in values]

    def column(self, name):
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    def definition(self):
        """What is between the parentheses of CREATE TABLE."""
        return ", ".join(f"{column.name} {column.kind.type}" for column in self.columns)

    def copy_text(self, first=0, last=None):
        """Rows in COPY's text format."""
        return "".join("\t".join(map(_copied, row)) + "\n" for row in list(zip(*self.values))[first:last])


def _copied(value):
    if value is None:
        return "\\N"
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
