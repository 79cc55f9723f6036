"""Results of a query on several sides, and where they differ."""

import datetime
import decimal
import math
from collections import Counter
from dataclasses import dataclass

FLOATS = {700, 701}
NUMERIC = 1700
TIMESTAMPTZ = 1184
#: Floats may be added up in any order. DuckDB's averages of numerics are floats as well, and its divisions of them.
TOLERANCE = 1e-11
FOREIGN_TOLERANCE = 1e-9


@dataclass
class Result:
    """Rows of texts and None, and the numbers of the columns that are floats, and floats or numerics."""

    rows: list
    floats: frozenset = frozenset()
    numbers: frozenset = frozenset()
    #: Columns of timestamps with time zone, in UTC.
    moments: frozenset = frozenset()
    #: From another system than PostgreSQL, which writes values in its own way.
    foreign: bool = False


def of_postgres(rows, description):
    """A result whose values are PostgreSQL's texts already."""
    types = [column.type_code for column in description]
    def columns(codes):
        return frozenset(number for number, code in enumerate(types) if code in codes)

    return Result(rows, columns(FLOATS), columns(FLOATS | {NUMERIC}), columns({TIMESTAMPTZ}))


def of_duckdb(rows):
    """A result of Python's values, as texts of PostgreSQL's kind."""
    numbers = frozenset(number for row in rows for number, value in enumerate(row) if isinstance(value, (float, decimal.Decimal)))
    return Result([tuple(map(_text, row)) for row in rows], numbers, numbers, foreign=True)


def _text(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime.datetime) and value.microsecond:
        return value.isoformat(" ").rstrip("0")
    return str(value)


def difference(expected, found, ordered=False):
    """What distinguishes two results, None if nothing: floats apart every byte counts, unless one comes from another system."""
    foreign = expected.foreign or found.foreign
    loose = expected.numbers | found.numbers if foreign else expected.floats | found.floats
    if len(expected.rows) != len(found.rows):
        return f"{len(expected.rows)} rows expected, {len(found.rows)} found"
    if not loose and not foreign:
        if expected.rows == found.rows:
            return None
        if ordered:
            return next(_shown(*pair) for pair in zip(expected.rows, found.rows) if pair[0] != pair[1])
        left, right = Counter(expected.rows), Counter(found.rows)
        return None if left == right else _shown(list((left - right).elements())[:3], list((right - left).elements())[:3])
    if foreign:
        pairs = [[_plain(row, loose, result.moments) for row in result.rows] for result in (expected, found)]
    else:
        pairs = [[_values(row, loose) for row in result.rows] for result in (expected, found)]
    if not ordered:
        pairs = [sorted(rows, key=lambda row: _place(row, loose)) for rows in pairs]
    tolerance = FOREIGN_TOLERANCE if foreign else TOLERANCE
    return next((_shown(*rows) for rows in zip(*pairs) if not all(_equal(*values, tolerance) for values in zip(*rows))), None)


def _shown(expected, found):
    return f"expected {str(expected)[:400]}, found {str(found)[:400]}"


def _values(row, loose):
    """A row with numbers where they are compared as such."""
    return tuple(float(value) if value is not None and number in loose else value for number, value in enumerate(row))


def _plain(row, loose, moments):
    """The same without what only PostgreSQL writes: DuckDB does not pad char(n), and there timestamps have no time zone."""
    return _values([value if value is None else value.removesuffix("+00") if number in moments else value.rstrip(" ")
                    for number, value in enumerate(row)], loose)


def _place(row, loose):
    """Where a row belongs in any order that does not depend on the last digits of numbers unless everything else is equal."""
    exact = [(value is None, value or "") for number, value in enumerate(row) if number not in loose]
    rough = [(row[number] is None, f"{row[number] or 0.0:.8e}") for number in sorted(loose) if number < len(row)]
    return exact, rough


def _equal(left, right, tolerance):
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance) or (math.isnan(left) and math.isnan(right))
    return left == right
