"""Tells whether a listing of catalogs differs only by entries about our access method and TOAST relations."""

import re

import sqltext
from transcript import Table

LISTS = re.compile(r"\bpg_(am|depend|class|locks)\b|^\s*\\dA", re.I)
REPORTS = re.compile(r"\s*(reindex|drop)\b", re.I)
OURS = re.compile(r"((access method|extension) )?(columnar|orochi)|((table|index) )?(pg_toast\.)?pg_toast(_\w+)?")
OUR_NOTICE = re.compile(r"INFO:  index \"pg_toast_\d+_index\" was reindexed"
                        r"|NOTICE:  DROP: .* identity=pg_toast\.pg_toast_\d+(_index)? schema=pg_toast .*")


def only_adds(text, earlier, expected, result):
    """Whether everything expected is there, in order, and every other entry names something of ours."""
    if REPORTS.match(sqltext.code_only(text)):
        return lines_added(expected, result)
    query = "\n".join(map(sqltext.code_only, sqltext.definitions(text, earlier)))
    return bool(LISTS.search(query)) and rows_added(expected, result)


def lines_added(expected, result):
    if any(isinstance(item, Table) for item in expected + result):
        return False
    return is_extended(expected, result, OUR_NOTICE.fullmatch)


def rows_added(expected, result):
    """The same items, where a result set may have more rows and its title another indentation."""
    return len(expected) == len(result) and all(map(item_extended, expected, result))


def item_extended(expected, result):
    if isinstance(expected, str) or isinstance(result, str):
        return isinstance(expected, str) and isinstance(result, str) and expected.strip() == result.strip()
    return expected.header == result.header and is_extended(expected.rows, result.rows, lambda row: any(map(OURS.fullmatch, row)))


def is_extended(expected, result, is_ours):
    """Whether `result` is `expected` with insertions that are ours."""
    waiting = list(expected)
    for item in result:
        if waiting and item == waiting[0]:
            waiting.pop(0)
        elif not is_ours(item):
            return False
    return not waiting
