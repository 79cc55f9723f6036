"""Tells whether a listing of catalogs differs only by entries about our extension and TOAST relations.

Every columnar table has a TOAST relation, its companion, which holds rows and has an index."""

import re

import sqltext
from transcript import Table

LISTS = re.compile(r"\bpg_(am|depend|class|locks)\b|^\s*\\dA", re.I)
REPORTS = re.compile(r"\s*(reindex|drop)\b", re.I)
OURS = re.compile(r"((access method|extension) )?(columnar|orochi)|((table|index) )?(pg_toast\.)?pg_toast(_\w+)?")
OUR_NOTICE = re.compile(r"INFO:  index \"pg_toast_\d+_index\" was reindexed"
                        r"|NOTICE:  DROP: .* identity=pg_toast\.pg_toast_\d+(_index)? schema=pg_toast .*"
                        r"|NOTICE:  REINDEX END: command_tag=REINDEX type=index identity=pg_toast\.pg_toast_\d+_index")
NO_INDEXES = re.compile(r'NOTICE:  table "[^"]+" has no indexes (to reindex|that can be reindexed concurrently)')

ASKS_FOR_TOAST = re.compile(r"\breltoastrelid\b", re.I)
LISTS_FUNCTIONS = re.compile(r"\bfrom\s+pg_proc\b", re.I)
LISTS_LOCKS = re.compile(r"\bfrom\s+pg_locks\b", re.I)
READ_LOCK = "SIReadLock"
# What the extension's functions share a name with in pg_catalog.
OUR_FUNCTIONS = {"version"}
FIRST_USER_OID = 16384


def only_adds(text, earlier, expected, result):
    """Whether everything expected is there, in order, and every other entry names something of ours."""
    if REPORTS.match(sqltext.code_only(text)):
        return lines_added(expected, result)
    query = "\n".join(map(sqltext.code_only, sqltext.definitions(text, earlier)))
    return bool(LISTS.search(query)) and rows_added(expected, result, names_ours)


def names_ours(row):
    return any(map(OURS.fullmatch, row))


def lines_added(expected, result):
    if any(isinstance(item, Table) for item in expected + result):
        return False
    # The companion has an index, so a columnar table is never without one.
    needless = [line for line in expected if NO_INDEXES.fullmatch(line) and line not in result]
    return is_extended([line for line in expected if line not in needless], result, OUR_NOTICE.fullmatch)


def rows_added(expected, result, is_ours):
    """The same items, where a result set may have more rows and its title another indentation."""
    return len(expected) == len(result) and all(item_extended(a, b, is_ours) for a, b in zip(expected, result))


def item_extended(expected, result, is_ours):
    if isinstance(expected, str) or isinstance(result, str):
        return isinstance(expected, str) and isinstance(result, str) and expected.strip() == result.strip()
    return expected.header == result.header and is_extended(expected.rows, result.rows, is_ours)


def is_extended(expected, result, is_ours):
    """Whether `result` is `expected` with insertions that are ours."""
    waiting = list(expected)
    for item in result:
        if waiting and item == waiting[0]:
            waiting.pop(0)
        elif not is_ours(item):
            return False
    return not waiting


def finds_toast(text, expected, result):
    """Whether a statement about reltoastrelid says of some more tables that they have a TOAST relation."""
    if not ASKS_FOR_TOAST.search(sqltext.code_only(text)) or (expected.header, len(expected.rows)) != (result.header, len(result.rows)):
        return False
    changes = [(name, a, b) for before, after in zip(expected.rows, result.rows)
               for name, a, b in zip(expected.header, before, after) if a != b]
    return all("toast" in name and (a, b) == ("f", "t") for name, a, b in changes)


def finds_our_functions(text, expected, result):
    """Whether a listing of functions has more rows, each of which names nothing but functions of the extension."""
    if not LISTS_FUNCTIONS.search(sqltext.code_only(text)):
        return False
    return item_extended(expected, result, names_our_functions)


def names_our_functions(row):
    oids = [int(cell) for cell in row if cell.isdigit()]
    return {cell for cell in row if not cell.isdigit()} <= OUR_FUNCTIONS and len(oids) < len(row) and max(oids, default=0) >= FIRST_USER_OID


def finds_companion_locks(text, expected, result):
    """Whether a listing of what serializable transactions have read lists some locks twice.

    A row that is read in the companion is locked there, too; the statement does not say on which relation."""
    if not LISTS_LOCKS.search(sqltext.code_only(text)) or "relation" in expected.header:
        return False
    return item_extended(expected, result, lambda row: row in expected.rows and READ_LOCK in row)
