"""Column types of the differential test, each with random values written as SQL literals."""

import uuid
from dataclasses import dataclass
from typing import Callable

#: Types that the literals below need.
PREPARATION = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'ecstatic');
CREATE DOMAIN positive AS numeric(12, 2) CHECK (value > 0);
CREATE TYPE pair AS (x int, y text);
CREATE TYPE floatrange AS RANGE (subtype = float8);
"""


@dataclass(frozen=True)
class Type:
    """A SQL type; `ordered` means that its values can be compared, `index` names a method that indexes it."""

    sql: str
    literal: Callable
    ordered: bool = True
    index: str = "btree"
    sums: bool = False
    tags: frozenset = frozenset()


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"


def _text(r):
    words = ("", "a", "B", "zebra", "Ünïcode ☃", "tab\there", "quo'te", "back\\slash", "null", "  spaced  ", "x" * 300)
    choice = r.random()
    if choice < 0.6:
        return r.choice(words)
    if choice < 0.97:
        return f"{r.choice(words)}{r.randrange(50)}"
    return "".join(r.choice("abcdefghij klmnop") for _ in range(r.choice((500, 3000, 30000))))


def _integer(bits):
    def make(r):
        limit = 2 ** (bits - 1)
        return str(r.choice((0, 1, -1, r.randrange(100), r.randrange(-1000, 1000), limit - 1, 1 - limit, r.randrange(-limit + 1, limit))))
    return make


def _float(r):
    return r.choice(("0", "'-0'", "1.5", "'NaN'", "'Infinity'", "'-Infinity'", "1e-30", repr(r.uniform(-1e6, 1e6)), f"{r.randrange(100)}"))


def _numeric(r):
    return r.choice(("0", "'NaN'", "0.000", "1.10", f"{r.randrange(10**6)}.{r.randrange(1000):03}", f"-{r.randrange(10**9)}", "1" + "0" * 40, "0.00000000000000000001"))


def _bounded(r):
    return r.choice(("0", "0.001", f"{r.randrange(-10**8, 10**8)}.{r.randrange(1000):03}", "'NaN'"))


def _date(r):
    if r.random() < 0.1:
        return r.choice(("infinity", "-infinity", "0044-03-15 BC", "9999-12-31"))
    return f"{r.choice((1970, 2000, 2024))}-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}"


def _time(r):
    return f"{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02}.{r.randrange(10**6):06}"


def _moment(r):
    date = _date(r)
    return date if "inf" in date or "BC" in date else f"{date} {_time(r)}"


def _interval(r):
    return f"{r.randrange(-20, 20)} months {r.randrange(-400, 400)} days {r.randrange(-10**6, 10**6)} seconds"


def _hex(r, count):
    return "".join(r.choice("0123456789abcdef") for _ in range(count))


def _inet(r):
    return r.choice((f"10.0.{r.randrange(4)}.{r.randrange(256)}", f"10.0.{r.randrange(4)}.0/24", f"fe80::{r.randrange(16):x}"))


def _bits(r, count):
    return "".join(r.choice("01") for _ in range(count))


def _json(r):
    return r.choice(('{}', '[]', 'null', '1.50', '"s"', f'{{"a": {r.randrange(20)}, "b": [1, null, "x"]}}', f'{{"k{r.randrange(5)}": {{"n": {r.random()}}}}}',
                     '[' + ', '.join(str(r.randrange(100)) for _ in range(r.randrange(60))) + ']'))


def _range(r):
    low = r.randrange(-50, 50)
    return r.choice(("empty", "(,)", f"[{low},{low + r.randrange(30)})", f"({low},)", f"(,{low}]"))


def _tsvector(r):
    return " ".join(f"w{r.randrange(12)}:{r.randrange(1, 9)}" for _ in range(r.randrange(6)))


def _number(r):
    return f"{r.randrange(-50, 50)}.{r.randrange(10)}"


def _point(r):
    return f"({_number(r)},{_number(r)})"


def _points(r, low=2, high=6):
    return ",".join(_point(r) for _ in range(r.randrange(low, high)))


def _array(element):
    def make(r):
        return "{" + ",".join(r.choice(("NULL", element(r), element(r))) for _ in range(r.randrange(8))) + "}"
    return make


def _small(r):
    return str(r.randrange(12))


def _cast(sql, make):
    return lambda r: f"{_quoted(make(r))}::{sql}"


def _simple(sql, make, **options):
    return Type(sql, _cast(sql, make), **options)


def _number_type(sql, make, **options):
    return Type(sql, lambda r: f"({make(r)})::{sql}", **options)


SUM, TEXT, CONTAINS = {"sums": True}, {"tags": frozenset({"text"})}, {"tags": frozenset({"contains"})}
TYPES = [
    _number_type("smallint", _integer(16), **SUM), _number_type("integer", _integer(32), **SUM),
    _number_type("bigint", _integer(64), **SUM), _number_type("real", _float), _number_type("double precision", _float),
    _number_type("numeric", _numeric, **SUM), _number_type("numeric(14,3)", _bounded, **SUM),
    _simple("money", lambda r: f"{r.randrange(-10**7, 10**7) / 100}"),
    _simple("boolean", lambda r: r.choice("tf")), _simple("char(5)", lambda r: _text(r)[:4], **TEXT),
    _simple("varchar(40)", lambda r: _text(r)[:40], **TEXT), _simple("text", _text, **TEXT),
    _simple('"char"', lambda r: r.choice("abc")), _simple("name", lambda r: _text(r)[:20]),
    _simple("bytea", lambda r: "\\x" + _hex(r, 2 * r.choice((0, 1, 8, 100, 2500)))),
    _simple("date", _date), _simple("time", _time), _simple("timetz", lambda r: _time(r) + f"+0{r.randrange(9)}"),
    _simple("timestamp", _moment), _simple("timestamptz", _moment), _simple("interval", _interval),
    _simple("uuid", lambda r: str(uuid.UUID(int=r.getrandbits(128)))),
    _simple("inet", _inet), _simple("cidr", lambda r: f"10.{r.randrange(9)}.0.0/16"),
    _simple("macaddr", lambda r: ":".join(_hex(r, 2) for _ in range(6))), _simple("macaddr8", lambda r: ":".join(_hex(r, 2) for _ in range(8))),
    _simple("bit(7)", lambda r: _bits(r, 7)), _simple("varbit", lambda r: _bits(r, r.randrange(40))),
    _simple("tsvector", _tsvector, index="gin"), _simple("tsquery", lambda r: f"w{r.randrange(12)} & !w{r.randrange(12)}"),
    _simple("json", _json, ordered=False, index=""), _simple("jsonb", _json, index="gin", **CONTAINS),
    _simple("jsonpath", lambda r: f"$.k{r.randrange(5)}", ordered=False, index=""),
    _simple("point", _point, ordered=False, index="gist"), _simple("lseg", lambda r: f"[{_points(r, 2, 3)}]", ordered=False, index=""),
    _simple("box", lambda r: _points(r, 2, 3), ordered=False, index="gist"), _simple("path", lambda r: f"[{_points(r)}]", ordered=False, index=""),
    _simple("polygon", lambda r: f"({_points(r, 3)})", ordered=False, index="gist"),
    _simple("circle", lambda r: f"<{_point(r)},{r.randrange(20)}>", ordered=False, index="gist"),
    _simple("line", lambda r: f"{{{r.randrange(1, 9)},{r.randrange(9)},{r.randrange(9)}}}", ordered=False, index=""),
    _simple("int4range", _range, index="gist", **CONTAINS), _simple("numrange", _range, index="gist"), _simple("floatrange", _range, index="gist"),
    _simple("int8multirange", lambda r: "{" + _range(r) + "}", index="gist"),
    _simple("integer[]", _array(_small), index="gin", **CONTAINS), _simple("text[]", _array(lambda r: f'"t {r.randrange(9)}"'), index="gin"),
    _simple("numeric[]", _array(_number)), _simple("integer[][]", lambda r: f"{{{{1,{_small(r)}}},{{{_small(r)},NULL}}}}"),
    _simple("oid", lambda r: str(r.randrange(2**32))), _simple("pg_lsn", lambda r: f"{r.randrange(99):X}/{r.randrange(2**20):X}"),
    _simple("pg_snapshot", lambda r: f"{r.randrange(10, 20)}:{r.randrange(30, 40)}:25", ordered=False, index=""),
    _simple("mood", lambda r: r.choice(("sad", "ok", "happy", "ecstatic"))),
    _simple("positive", lambda r: f"{r.randrange(1, 10**6)}.{r.randrange(100):02}", **SUM),
    _simple("pair", lambda r: f'({r.randrange(9)},"p {r.randrange(9)}")'), _simple("pair[]", lambda r: f'{{"({r.randrange(9)},x)",NULL}}'),
    _simple("mood[]", lambda r: r.choice(("{}", "{sad,NULL}", "{happy}"))),
]
XML = _simple("xml", lambda r: f"<a n=\"{r.randrange(9)}\">{r.randrange(99)}</a>", ordered=False, index="")
