"""Says what kind of difference lies between two outputs of the same statements.

A rule may only accept what cannot be a wrong row: a result set counts as the same when, with tids and sizes
masked, it has the same columns, the same row count and the same multiset of rows.
"""

import re
from collections import Counter

import catalogs
import placement
import plans
import sqltext
from kinds import CATALOG, CONTEXT, CTID, KINDS, ORDER, PLAN, PLAN_SHAPE, SIZE, UNSUPPORTED
from transcript import Table, only_table, parse_output

COPY_OUT = re.compile(r"^\s*\\?copy\b.*\bto\s+stdout\b", re.I | re.S)
TID = re.compile(r"^\(\d+,\d+\)$")
TID_WORD = re.compile(r"\b(ctid|tid|currtid2|t_ctid)\b", re.I)
SIZE_WORD = re.compile(r"pg_(relation|table|indexes|total_relation|column)_size|\brelpages\b|\breltuples\b|\\d[it]\+", re.I)
SIZE_HEADER = re.compile(r"pg_(relation|table|indexes|total_relation|column)_size$|relpages$|reltuples$|^Size$", re.I)
SIZE_CELL = re.compile(r"^-?\d+(\.\d+)?( (bytes|kB|MB|GB))?$")
TOAST_NAME = re.compile(r"pg_toast_\d+(_index)?")
TUPLE_IN = re.compile(r'tuple \(\d+,\d+\) in relation "[^"]+"')


def compare(place, earlier=(), shown=()):
    """The kinds of difference at a place, worst last; empty when the outputs are the same.

    `earlier` are the statements before it, where FETCH and EXECUTE find what they run, and `shown` what upstream
    expects these to print."""
    if place.expected == place.result:
        return []
    expected, result = parse_output(place.expected), parse_output(place.result)
    kinds = common_difference(place, earlier, expected, result)
    if UNSUPPORTED in kinds and len(place.statements) == 1:
        # Rules for whole statements come last: they must not explain what the common ones do.
        return special_difference(place, earlier, shown, expected, result) or kinds
    return kinds


def common_difference(place, earlier, expected, result):
    statements = [sqltext.with_definition(text, earlier) for text in place.statements]
    if [type(item) for item in expected] != [type(item) for item in result]:
        return [plans.plan_difference(expected, result) if plans.is_explain(statements, expected, result) else UNSUPPORTED]
    if any(COPY_OUT.match(text) for text in statements):
        return [copied_rows(statements, place.expected, place.result)]
    kinds = {kind for a, b in zip(expected, result) if a != b for kind in compare_item(statements, a, b)}
    # Outputs that differ in a way no rule saw are not the same.
    return [kind for kind in KINDS if kind in kinds] or [UNSUPPORTED]


def special_difference(place, earlier, shown, expected, result):
    """The kind of a difference that only the statement explains, as a list; empty when it does not."""
    text = place.statements[0]
    if plans.same_json_plan(text, expected, result) or plans.missed_seq_scan(text, place.expected, place.result):
        return [PLAN]
    if plans.computes_more_or_less(text, place.expected, place.result):
        return [PLAN_SHAPE]
    if bare := plans.bare_plan(text, place.expected, place.result):
        return [bare]
    if catalogs.only_adds(text, earlier, expected, result):
        return [CATALOG]
    tables = only_table(expected, result)
    kind = tables and table_difference(place, earlier, shown, *tables)
    return [kind] if kind else []


def table_difference(place, earlier, shown, expected, result):
    """As special_difference, of a statement with one result set."""
    text, tables = place.statements[0], (expected, result)
    if (catalogs.finds_toast(text, *tables) or catalogs.finds_our_functions(text, *tables)
            or catalogs.finds_companion_locks(text, *tables)):
        return CATALOG
    if (placement.file_is_larger(text, *tables) or placement.summarizes_other_ranges(text, *tables)
            or placement.stored_otherwise(text, *tables)):
        return SIZE
    if (placement.samples(text, earlier, *tables) or placement.within_tid_range(text, *tables)
            or placement.guesses_new_tid(place, text, *tables) or placement.ties_of_cluster(text, earlier, shown, *tables)):
        return CTID
    return ORDER if placement.ties(sqltext.with_definition(text, earlier), *tables) else None


def compare_item(statements, expected, result):
    if isinstance(expected, Table):
        if plans.is_explain(statements, [expected], [result]):
            return [plans.plan_difference([expected], [result])]
        return compare_table(statements, expected, result)
    return [CONTEXT] if mask_context(expected) == mask_context(result) else [UNSUPPORTED]


def mask_context(line):
    if line.lstrip().startswith(("CONTEXT:", "DETAIL:")):
        line = TUPLE_IN.sub("tuple in relation", line)
    return TOAST_NAME.sub("pg_toast", line)


# Result sets.

def copied_rows(statements, expected, result):
    ordered = any(re.search(r"\border\s+by\b", sqltext.code_only(text), re.I) for text in statements)
    return ORDER if Counter(expected) == Counter(result) and not ordered else UNSUPPORTED


def compare_table(statements, expected, result):
    if expected.header != result.header or expected.footer != result.footer or len(expected.rows) != len(result.rows):
        return [UNSUPPORTED]
    if any(map(placement.tid_range, statements)):
        return [UNSUPPORTED]  # unless within_tid_range finds every tid in its place
    masks = masked_columns(statements, expected, result)
    before, after = (masked_rows(table.rows, masks) for table in (expected, result))
    kinds = sorted(set(masks.values()))
    if Counter(before) != Counter(after):
        return [UNSUPPORTED]
    if any(mask_names(cell) != cell for row in expected.rows + result.rows for cell in row):
        kinds.append(CONTEXT)
    if before != after:
        kinds.append(ORDER if order_is_free(statements, expected.header, before, after) else UNSUPPORTED)
    return kinds


def masked_rows(rows, masks):
    named = ([mask_names(cell) for cell in row] for row in rows)
    return [tuple("*" if cell and i in masks else cell for i, cell in enumerate(row)) for row in named]


def mask_names(cell):
    return TOAST_NAME.sub("pg_toast", cell)


def masked_columns(statements, expected, result):
    """Columns whose every value is a tid, or a size, in both outputs of a statement about such."""
    rows = expected.rows + result.rows
    text = "\n".join(sqltext.code_only(statement) for statement in statements)
    masks = {}
    for i, name in enumerate(expected.header):
        cells = [row[i] for row in rows if len(row) == len(expected.header) and row[i]]
        differ = Counter(row[i:i + 1] for row in expected.rows) != Counter(row[i:i + 1] for row in result.rows)
        if not differ or not cells:
            continue
        if TID_WORD.search(text) and all(TID.match(cell) for cell in cells):
            masks[i] = CTID
        elif SIZE_WORD.search(text) and SIZE_HEADER.search(name) and all(SIZE_CELL.match(cell) for cell in cells):
            masks[i] = SIZE
    return masks


def order_is_free(statements, header, before, after):
    """Whether nothing in the statements asks for the order in which two equal multisets of rows differ."""
    for text in filter(sqltext.order_keys, statements):
        columns = sqltext.key_columns(text, header)
        # Rows that are equal in every key may come in any order.
        if not columns or [tuple(row[c] for c in columns) for row in before] != [tuple(row[c] for c in columns) for row in after]:
            return False
    return True
