"""Says what kind of difference lies between two outputs of the same statements.

A rule may only accept what cannot be a wrong row: a result set counts as the same when, with tids and sizes
masked, it has the same columns, the same row count and the same multiset of rows.
"""

import re
from collections import Counter

import sqltext
from transcript import Table, parse_output

PLAN = "plan"            # the same plan but for our scan node's name and its own lines
PLAN_SHAPE = "shape"     # another plan for the same statement
ORDER = "order"          # the same rows in another physical order
CTID = "ctid"            # tids
SIZE = "size"            # sizes in bytes or pages
CONTEXT = "context"      # CONTEXT or DETAIL that names a tuple of the companion relation
UNSUPPORTED = "unsupported"
KINDS = (PLAN, PLAN_SHAPE, ORDER, CTID, SIZE, CONTEXT, UNSUPPORTED)

EXPLAIN = re.compile(r"\bexplain\w*", re.I)
PLAN_HEADER = re.compile(r"^QUERY PLAN$|explain", re.I)
OUR_SCAN = re.compile(r"(Parallel )?Custom Scan \(Columnar\w*\)|(Parallel )?Seq Scan")
OUR_LINE = re.compile(r"^\s*(Columnar|Stripes|Vectors|Vectori[sz]ed|Columns)\b[^:]*:")
COST = re.compile(r"\s*\(cost=[^)]*\)|\s*Buffers: .*|\s*Memory: .*")
ACTUAL_ROWS = re.compile(r"actual[^)]*?\brows=([\d.]+)")
COPY_OUT = re.compile(r"^\s*\\?copy\b.*\bto\s+stdout\b", re.I | re.S)
INDIRECT = re.compile(r"^\s*(?:fetch\b.*?(\w+)|execute\s+(\w+)[^;]*);?\s*$", re.I | re.S)

TID = re.compile(r"^\(\d+,\d+\)$")
TID_WORD = re.compile(r"\b(ctid|tid|currtid2|t_ctid)\b", re.I)
SIZE_WORD = re.compile(r"pg_(relation|table|indexes|total_relation|column)_size|\brelpages\b|\breltuples\b|\\d[it]\+", re.I)
SIZE_HEADER = re.compile(r"pg_(relation|table|indexes|total_relation|column)_size$|relpages$|reltuples$|^Size$", re.I)
SIZE_CELL = re.compile(r"^-?\d+(\.\d+)?( (bytes|kB|MB|GB))?$")
TOAST_NAME = re.compile(r"pg_toast_\d+(_index)?")
TUPLE_IN = re.compile(r'tuple \(\d+,\d+\) in relation "[^"]+"')


def compare(place, earlier=()):
    """The kinds of difference at a place, worst last; empty when the outputs are the same.

    `earlier` are the statements before it, where FETCH and EXECUTE find what they run."""
    if place.expected == place.result:
        return []
    statements = [with_definition(text, earlier) for text in place.statements]
    expected, result = parse_output(place.expected), parse_output(place.result)
    if [type(item) for item in expected] != [type(item) for item in result]:
        return [plan_difference(expected, result) if is_explain(statements, expected, result) else UNSUPPORTED]
    if any(COPY_OUT.match(text) for text in statements):
        return [copied_rows(statements, place.expected, place.result)]
    kinds = {kind for a, b in zip(expected, result) if a != b for kind in compare_item(statements, a, b)}
    # Outputs that differ in a way no rule saw are not the same.
    return [kind for kind in KINDS if kind in kinds] or [UNSUPPORTED]


def with_definition(text, earlier):
    """The text of a FETCH or EXECUTE together with the cursor's or prepared statement's query."""
    found = INDIRECT.match(sqltext.code_only(text))
    if not found:
        return text
    name = re.escape(found[1] or found[2])
    made = re.compile(rf"\s*(declare\s+{name}\b|prepare\s+{name}\b)", re.I)
    return "\n".join([text] + [other for other in earlier if made.match(other)])


def compare_item(statements, expected, result):
    if isinstance(expected, Table):
        if is_explain(statements, [expected], [result]):
            return [plan_difference([expected], [result])]
        return compare_table(statements, expected, result)
    return [CONTEXT] if mask_context(expected) == mask_context(result) else [UNSUPPORTED]


def mask_context(line):
    if line.lstrip().startswith(("CONTEXT:", "DETAIL:")):
        line = TUPLE_IN.sub("tuple in relation", line)
    return TOAST_NAME.sub("pg_toast", line)


# Plans.

def is_explain(statements, expected, result):
    """Whether both sides are plans: one result set each, under the heading of a plan."""
    tables = [item for item in expected + result if isinstance(item, Table)]
    return (any(EXPLAIN.search(text) for text in statements) and len(tables) == 2
            and all(len(table.header) == 1 and PLAN_HEADER.search(table.header[0]) for table in tables)
            and [item for item in expected if isinstance(item, str)] == [item for item in result if isinstance(item, str)])


def plan_difference(expected, result):
    before, after = ([row[0] for item in side if isinstance(item, Table) for row in item.rows] for side in (expected, result))
    if not after or rows_returned(before) != rows_returned(after):
        return UNSUPPORTED
    return PLAN if plain_plan(before) == plain_plan(after) else PLAN_SHAPE


def rows_returned(plan):
    """What EXPLAIN ANALYZE says about the rows of the whole plan, or None."""
    found = ACTUAL_ROWS.search(plan[0]) if plan else None
    return found and float(found[1])


def plain_plan(plan):
    lines = (COST.sub("", OUR_SCAN.sub("Scan", line)) for line in plan if not OUR_LINE.match(line))
    return [line.strip() for line in lines if line.strip()]


# Result sets.

def copied_rows(statements, expected, result):
    ordered = any(re.search(r"\border\s+by\b", sqltext.code_only(text), re.I) for text in statements)
    return ORDER if Counter(expected) == Counter(result) and not ordered else UNSUPPORTED


def compare_table(statements, expected, result):
    if expected.header != result.header or expected.footer != result.footer or len(expected.rows) != len(result.rows):
        return [UNSUPPORTED]
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
    lowered = [name.lower() for name in header]
    for keys in filter(None, (sqltext.order_keys(text) for text in statements)):
        columns = []
        for key in keys:
            if key.isdigit() and 1 <= int(key) <= len(header):
                columns.append(int(key) - 1)
            elif lowered.count(key) == 1:
                columns.append(lowered.index(key))
            else:
                return False
        # Rows that are equal in every key may come in any order.
        if [tuple(row[c] for c in columns) for row in before] != [tuple(row[c] for c in columns) for row in after]:
            return False
    return True
