"""Tells whether outputs differ in nothing but the plan of the same statement."""

import json
import re

import sqltext
from kinds import PLAN, PLAN_SHAPE, UNSUPPORTED
from transcript import Table, only_table

EXPLAIN = re.compile(r"\bexplain\w*", re.I)
EXPLAINS = re.compile(r"\s*explain\b", re.I)
PLAN_HEADER = re.compile(r"^QUERY PLAN$|explain", re.I)
PLAN_NODE = re.compile(r"\b(Scan|Append|Join|Loop|Aggregate|HashAggregate|GroupAggregate|Sort|Limit|Result|Gather|Unique)\b")
OUR_SCAN = re.compile(r"(Parallel )?Custom Scan \(Columnar\w*\)|(Parallel )?Seq Scan")
OUR_WORDS = r"(Columnar|Stripes|Vectors|Vectori[sz]ed|Columns|Zone-Map)\b"
OUR_LINE = re.compile(rf"^\s*{OUR_WORDS}[^:]*:")
OUR_KEY = re.compile(OUR_WORDS)
COST = re.compile(r"\s*\(cost=[^)]*\)|\s*Buffers: .*|\s*Memory: .*")
ACTUAL_ROWS = re.compile(r"actual[^)]*?\brows=([\d.]+)")

DO_BLOCK = re.compile(r"\s*do\b", re.I)
GREPS_PLAN = re.compile(r"\blike\s+'%Seq Scan[^']*'.*?\braise\s+warning\s+'did not get seqscan plan for ", re.I | re.S)
CLUSTERS = re.compile(r"\s*cluster\b", re.I)
NO_SEQ_SCAN = re.compile(r"WARNING:  did not get seqscan plan for \(.*\)$")


def is_explain(statements, expected, result):
    """Whether both sides are plans: one result set each, under the heading of a plan."""
    tables = [item for item in expected + result if isinstance(item, Table)]
    return (any(EXPLAIN.search(text) for text in statements) and len(tables) == 2
            and all(len(table.header) == 1 and PLAN_HEADER.search(table.header[0]) for table in tables)
            and [item for item in expected if isinstance(item, str)] == [item for item in result if isinstance(item, str)])


def plan_difference(expected, result):
    before, after = ([row[0] for item in side if isinstance(item, Table) for row in item.rows] for side in (expected, result))
    return difference_of_lines(before, after)


def difference_of_lines(before, after):
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


# Plans without the heading.

def bare_plan(text, before, after):
    """The kind of difference between plans that psql prints without heading (tuples only), or None."""
    if not EXPLAINS.match(sqltext.code_only(text)):
        return None
    plans = bare_lines(before), bare_lines(after)
    return difference_of_lines(*plans) if all(plans) else None


def bare_lines(lines):
    """A plan's lines; empty if they are none. Errors and notices start in the first column, rows never do."""
    rows = "\n".join(lines).rstrip().split("\n")
    return rows if all(row.startswith(" ") for row in rows) and PLAN_NODE.search(rows[0]) else []


# Plans as JSON.

def same_json_plan(text, expected, result):
    """Whether two plans in JSON are the same but for our scan node. Any other value that differs counts."""
    tables = only_table(expected, result)
    if not tables or not EXPLAIN.search(text):
        return False
    plans = [json_plan(table) for table in tables]
    return plans[0] is not None and plans[0] == plans[1]


def json_plan(table):
    if len(table.header) != 1 or len(table.rows) != 1:
        return None
    try:
        # The plus signs are psql's, at the end of a line that goes on.
        plan = json.loads(re.sub(r"\s*\+$", "", table.rows[0][0], flags=re.M))
    except ValueError:
        return None
    return plain_node(plan) if isinstance(plan, list) and plan and isinstance(plan[0], dict) and "Plan" in plan[0] else None


def plain_node(value):
    if isinstance(value, list):
        return [plain_node(item) for item in value]
    if not isinstance(value, dict):
        return value
    ours = value.get("Node Type") == "Custom Scan" and str(value.get("Custom Plan Provider")).startswith("Columnar")
    node = {key: plain_node(item) for key, item in value.items()
            if not (ours and (key == "Custom Plan Provider" or OUR_KEY.match(key)))}
    if ours or node.get("Node Type") == "Seq Scan":
        node["Node Type"] = "Scan"
    return node


# Blocks that look for a node's name in a plan.

def missed_seq_scan(text, before, after):
    """Whether a DO block that looks for "Seq Scan" in its plans says only that it did not find that."""
    if not DO_BLOCK.match(sqltext.code_only(text)) or not GREPS_PLAN.search(text):
        return False
    rest = [line for line in after if not NO_SEQ_SCAN.match(line)]
    return rest == [line for line in before if not NO_SEQ_SCAN.match(line)] and not any(map(NO_SEQ_SCAN.match, before))


# Notices from an index expression.

def computes_more_or_less(text, before, after):
    """Whether CLUSTER, which may sort or read an index, computes index expressions another number of times.

    All that it prints are their notices, and both sides have the same ones."""
    lines = [line for line in before + after if line]
    return (bool(CLUSTERS.match(sqltext.code_only(text))) and all(line.startswith("NOTICE:  ") for line in lines)
            and set(filter(None, before)) == set(filter(None, after)))
