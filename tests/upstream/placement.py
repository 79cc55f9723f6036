"""Tells whether rows differ because a statement asks where they lie, how large a file is, or for some of many ties."""

import re
from collections import Counter

import sqltext
from transcript import Table, parse_output

SIZE_COMPARED = re.compile(
    r"\s*select\s+pg_(?:relation|table)_size\s*\((?:[^()]|\([^()]*\))*\)\s*(=|<|<=|>|>=|<>)\s*\d+(?:\s+as\s+\w+)?"
    r"(?:\s+from\s+pg_class\b[^;()]*)?\s*;?\s*", re.I)
# What such a comparison says of the smaller file and then of the larger one.
LARGER = {"=": ("t", "f"), "<": ("t", "f"), "<=": ("t", "f"), ">": ("f", "t"), ">=": ("f", "t"), "<>": ("f", "t")}

SUMMARIZED = re.compile(r"\s*select\s+brin_summarize_new_values\s*\(''\)\s*;?\s*", re.I)
STORED = re.compile(r"\s*select\s+pg_column_(compression|toast_chunk_id)\s*\(", re.I)
STORED_HEADER = re.compile(r"pg_column_\w+|\?column\?")

READS = re.compile(r"\s*(select|fetch)\b", re.I)
SAMPLE = re.compile(r"\btablesample\b", re.I)
PARTIAL_SAMPLE = re.compile(r"\btablesample\s+(?:system|bernoulli)\s*\(\s*(\d+(?:\.\d+)?)\s*\)", re.I)

TID_LITERAL = r"'\(\d+,\d+\)'"
TID_CONDITION = rf"(?:ctid\s*(?:<=?|>=?)\s*{TID_LITERAL}|{TID_LITERAL}\s*(?:<=?|>=?)\s*ctid)"
TID_RANGE = re.compile(rf"\s*select\s+ctid\s+from\s+\w+\s+where\s+({TID_CONDITION}(?:\s+and\s+{TID_CONDITION})*)\s*;?\s*", re.I)
TWO_TIDS = re.compile(rf"\s*(?:update|delete)\b.*\bwhere\s+ctid\s*=\s*({TID_LITERAL})\s+or\s+ctid\s*=\s*({TID_LITERAL})"
                      r"(?:\s+returning\b[^;]*)?\s*;?\s*", re.I | re.S)
TID = re.compile(r"\((\d+),(\d+)\)")

CLUSTER = re.compile(r"\s*cluster\s+(\w+)\s+using\s+(\w+)\s*;?\s*", re.I)
BY_TID = re.compile(r"\bfrom\s+(\w+)\s+order\s+by\s+ctid\b", re.I)
WITH_TIES = re.compile(r"\bwith\s+ties\b", re.I)
END = re.compile(r"\b(?:limit|fetch(?:\s+(?:first|next|forward|backward))?)\s+([^\s;]+)", re.I)
SELECTS = re.compile(r"\s*select\b", re.I)
COMPARE = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}


def file_is_larger(text, expected, result):
    """Whether the statement only compares a file's size with a constant, and our file is the larger one."""
    found = SIZE_COMPARED.fullmatch(sqltext.code_only(text))
    return bool(found) and ([(LARGER[found[1]][0],)], [(LARGER[found[1]][1],)]) == (expected.rows, result.rows)


def summarizes_other_ranges(text, expected, result):
    """Whether the statement only tells how many ranges of blocks a BRIN index had not summarised yet."""
    rows = expected.rows + result.rows
    return bool(SUMMARIZED.fullmatch(sqltext.code_only(text))) and len(rows) == 2 and all(row[0].isdigit() for row in rows)


def stored_otherwise(text, expected, result):
    """Whether a statement finds nowhere that PostgreSQL has compressed a value by itself or moved it out of line."""
    if not STORED.match(sqltext.code_only(text)) or (expected.header, len(expected.rows)) != (result.header, len(result.rows)):
        return False
    changes = [(name, a, b) for before, after in zip(expected.rows, result.rows)
               for name, a, b in zip(expected.header, before, after) if a != b]
    return all(STORED_HEADER.fullmatch(name) and a in ("pglz", "lz4", "t") and b == "" for name, a, b in changes)


def samples(text, earlier, expected, result):
    """Whether the rows are a sample of the table: those of some pages, or chosen by the tid's hash.

    A sample of all rows or of none has to be the same."""
    if not READS.match(sqltext.code_only(text)) or expected.header != result.header:
        return False
    query = "\n".join(map(sqltext.code_only, sqltext.definitions(text, earlier)))
    shares = [float(found[1]) for found in PARTIAL_SAMPLE.finditer(query)]
    return bool(shares) and len(shares) == len(SAMPLE.findall(query)) and all(0 < share < 100 for share in shares)


def tid_range(text):
    """The match of a statement that selects nothing but the tids of a range."""
    return TID_RANGE.fullmatch(sqltext.without_comments(text))


def within_tid_range(text, expected, result):
    """Whether a statement selects the tids of a range, and each that we return lies in that range."""
    found = tid_range(text)
    if not found or expected.header != ("ctid",) or result.header != ("ctid",):
        return False
    cells = [row[0] for row in expected.rows + result.rows]
    if not all(TID.fullmatch(cell) for cell in cells) or len(set(result.rows)) != len(result.rows):
        return False
    return all(satisfies(cell, condition) for cell in cells for condition in re.findall(TID_CONDITION, found[1], re.I))


def satisfies(cell, condition):
    tid, literal = (tuple(map(int, TID.search(text).groups())) for text in (cell, condition))
    operator = re.search(r"[<>]=?", condition)[0]
    return COMPARE[operator](tid, literal) if condition.lower().startswith("ctid") else COMPARE[operator](literal, tid)


def guesses_new_tid(place, text, expected, result):
    """Whether a statement that had to wait names, besides a row's tid, the one that a heap gives its new version.

    Elsewhere the new version does not match, so that fewer rows come back, but none that upstream does not have."""
    found = TWO_TIDS.fullmatch(sqltext.without_comments(text))
    return (bool(found) and found[1] != found[2] and place.name.endswith(" completed")
            and expected.header == result.header and not Counter(result.rows) - Counter(expected.rows))


def ties(query, expected, result):
    """Whether the rows differ only among those that tie in ORDER BY, where LIMIT, OFFSET or FETCH cuts the ties.

    Some ties have to be seen: after a unique key, a row that differs is a wrong row."""
    keys = keys_of_ties(query, expected, result)
    return bool(keys) and len(set(keys)) < len(keys) and same_but_for_cut_ties(query, keys, expected, result)


def keys_of_ties(query, expected, result):
    """The values that the rows are ordered by if they are the same on both sides, or None."""
    columns = sqltext.key_columns(query, expected.header)
    if not columns or expected.header != result.header:
        return None
    keys = [[tuple(row[c] for c in columns) for row in table.rows] for table in (expected, result)]
    return keys[0] if keys[0] == keys[1] else None


def same_but_for_cut_ties(query, keys, expected, result):
    """Whether the same rows have the same keys. Only the first and the last group of ties can lack some of its rows."""
    cut = ({keys[0]} if cuts_start(query) else set()) | ({keys[-1]} if cuts_end(query, len(keys)) else set())
    groups = [Counter(row for row, key in zip(table.rows, keys) if key not in cut) for table in (expected, result)]
    return groups[0] == groups[1]


def cuts_start(query):
    return re.search(r"\boffset\b|^\s*fetch\b", sqltext.top_level(query), re.I)


def cuts_end(query, count):
    """Whether there may be more rows than these: as many as the number that LIMIT or FETCH names, if it is known."""
    text = sqltext.top_level(query)
    return not WITH_TIES.search(text) and any(end == str(count) or end[0] in "($:" for end in END.findall(text))


def ties_of_cluster(text, earlier, shown, expected, result):
    """Whether the first or last rows by tid of a table that has just been clustered differ only among ties of its index.

    A row that upstream does not return here has to be one that it returned before."""
    query = by_clustered_columns(sqltext.code_only(text), [sqltext.code_only(other) for other in earlier])
    keys = query and keys_of_ties(query, expected, result)
    if not keys or not same_but_for_cut_ties(query, keys, expected, result):
        return False
    others = Counter(result.rows) - Counter(expected.rows)
    return set(others) <= rows_shown(expected.header, shown) and max(others.values(), default=1) == 1


def rows_shown(header, outputs):
    tables = (item for lines in outputs for item in parse_output(lines) if isinstance(item, Table))
    return {row for table in tables if table.header == header for row in table.rows}


def by_clustered_columns(query, earlier):
    """The query with the index's columns in place of ORDER BY ctid; None if the table need not lie in their order."""
    found = BY_TID.search(query)
    last = next((text for text in reversed(earlier) if not SELECTS.match(text)), "")
    cluster = CLUSTER.fullmatch(last)
    if not found or not cluster or cluster[1] != found[1]:
        return None
    index = re.compile(rf"\s*create\s+index\s+{cluster[2]}\s+on\s+{cluster[1]}\s*\(([\w\s,]+)\)\s*;?\s*", re.I)
    columns = next((made[1] for made in map(index.fullmatch, reversed(earlier)) if made), None)
    return columns and f"{query[:found.start()]} from {found[1]} order by {columns} {query[found.end():]}"
