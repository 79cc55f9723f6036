"""Splits what psql and isolationtester print into comparable places, and each place into tables and lines."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field

import sqltext

SEPARATOR = re.compile(r"^-*(\+-+)*$")
FOOTER = re.compile(r"^\(\d+ rows?\)$")
GEXEC = re.compile(r"\\gexec\s*$")
GEXEC_ECHO = re.compile(r"(explain|select|with|values|insert|update|delete|merge|create|alter|drop)\b", re.I)


@dataclass
class Table:
    """One result set. `rows` holds tuples of stripped cells; a row of several lines is one row."""

    header: tuple
    rows: list
    footer: str
    lines: list = field(repr=False)


@dataclass
class Place:
    """One point of a script whose output can differ: the statements that end there, and both outputs."""

    name: str
    statements: list
    expected: list
    result: list


def parse_output(lines):
    """The lines as a list of Table and str."""
    items, at = [], 0
    while at < len(lines):
        table = parse_table(lines, at)
        if table:
            items.append(table)
            at += len(table.lines)
        else:
            items.append(lines[at])
            at += 1
    return items


def only_table(expected, result):
    """The one result set on each side; None where there are others or the lines around them differ."""
    outputs = expected, result
    tables = [item for items in outputs for item in items if isinstance(item, Table)]
    around = [[item if isinstance(item, str) else None for item in items] for items in outputs]
    return tuple(tables) if around[0] == around[1] and around[0].count(None) == 1 else None


def parse_table(lines, at):
    """The table whose header starts at line `at`, or None: psql's aligned format, or isolationtester's."""
    if at + 1 >= len(lines) or not lines[at + 1].startswith("--") and lines[at + 1] != "-" and "-+-" not in lines[at + 1]:
        return None
    separator = lines[at + 1]
    if not SEPARATOR.match(separator) or not separator:
        return None
    end = next((i for i in range(at + 2, len(lines)) if FOOTER.match(lines[i])), None)
    if end is None:
        return None
    bars = [i for i, character in enumerate(separator) if character == "+"]
    return Table(split_cells(lines[at], bars), join_rows(lines[at + 2:end], bars, len(separator)), lines[end], lines[at:end + 1])


def split_cells(line, bars):
    if all(bar < len(line) and line[bar] == "|" for bar in bars):
        edges = [-1] + bars + [len(line)]
        return tuple(line[a + 1:b].strip() for a, b in zip(edges, edges[1:]))
    cells = line.split("|")  # characters of double width move the bars
    return tuple(cell.strip() for cell in cells) if len(cells) == len(bars) + 1 else (line,)


def join_rows(lines, bars, width):
    """Rows as tuples; psql marks with a plus sign that a cell goes on in the next line."""
    rows, continued = [], False
    for line in lines:
        cells = split_cells(line, bars)
        if continued and len(rows[-1]) == len(cells):
            rows[-1] = tuple(a + "\n" + b for a, b in zip(rows[-1], cells))
        else:
            rows.append(cells)
        continued = any(bar <= len(line) and line[bar - 1] == "+" for bar in bars + [width] if bar > 0)
    return rows


def echoed_lines(script, output):
    """Maps line numbers of the script to the lines of the output that echo them (a longest common subsequence)."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as a, \
            tempfile.NamedTemporaryFile("w", suffix=".out", encoding="utf-8") as b:
        # psql echoes no blank line, so one in the output is part of a result.
        a.write("".join((line or "\0") + "\n" for line in script))
        b.write("".join(line + "\n" for line in output))
        a.flush()
        b.flush()
        marks = subprocess.run(["diff", "--text", "--minimal", "--old-line-format=-", "--new-line-format=+", "--unchanged-line-format==",
                                a.name, b.name], stdout=subprocess.PIPE, text=True, check=False).stdout
    if not marks:  # diff prints nothing about equal files
        return {i: i for i in range(len(script))}
    echoes, old, new = {}, 0, 0
    for mark in marks:
        if mark == "=":
            echoes[old] = new
        old += mark != "+"
        new += mark != "-"
    return echoes


def regress_places(script_text, expected, result):
    """Cuts both transcripts of a regression script at the script lines that both echo."""
    script = script_text.split("\n")
    in_expected, in_result = echoed_lines(script, expected), echoed_lines(script, result)
    cuts = sorted(line for line in in_expected if line in in_result)
    statements = sqltext.split_statements(script_text, set(cuts))
    # Output before the first echo belongs to no statement.
    bounds = [(-1, -1, -1)] + [(c, in_expected[c], in_result[c]) for c in cuts] + [(len(script), len(expected), len(result))]
    places, done = [], 0
    for (line, e, r), (_, next_e, next_r) in zip(bounds, bounds[1:]):
        ended = []
        while done < len(statements) and statements[done].last <= line:
            ended.append(statements[done].text)
            done += 1
        # A statement's output may follow its last line only after a comment or blank line is echoed.
        if not ended and places:
            ended = places[-1].statements[-1:]
        place = Place(f"line {max(r, 0) + 1}", ended, expected[e + 1:next_e], result[r + 1:next_r])
        places += gexec_places(place, r + 2) if ended and GEXEC.search(ended[-1]) else [place]
    return places


def gexec_places(place, line):
    """One place per statement that \\gexec has run and echoed; the place itself where the echoes differ."""
    expected, result = (gexec_blocks(lines) for lines in (place.expected, place.result))
    if [block[0] for block in expected[1:]] != [block[0] for block in result[1:]]:
        return [place]
    places = [Place(place.name, place.statements, expected[0], result[0])]
    for e, r in zip(expected[1:], result[1:]):
        line += len(places[-1].result) + (len(places) > 1)
        places.append(Place(f"line {line}", [e[0]], e[1:], r[1:]))
    return places


def gexec_blocks(lines):
    """What stands before the first echo, and every echo with what follows it. Rows start with a space, echoes do not."""
    blocks = [[]]
    for line in lines:
        if GEXEC_ECHO.match(line):
            blocks.append([])
        blocks[-1].append(line)
    return blocks


STEP = re.compile(r"^step (\S+): ?(.*)$")


def isolation_blocks(lines):
    """The transcript as (kind, lines): permutations, steps, and everything else before the first of them."""
    blocks = [("start", [])]
    for line in lines:
        step = STEP.match(line)
        if line.startswith("starting permutation:"):
            blocks.append((line, []))
        elif step:
            kind = "completed" if step[2].startswith("<... completed>") else "waiting" if step[2].endswith("<waiting ...>") else "done"
            blocks.append((f"step {step[1]} {kind}", []))
        blocks[-1][1].append(line)
    return blocks


def isolation_places(expected, result):
    """Places per permutation and step. Where the order of steps differs, the whole permutation is one place."""
    places = []
    ours, theirs = permutations(isolation_blocks(result)), permutations(isolation_blocks(expected))
    if [p[0][0] for p in ours] != [p[0][0] for p in theirs]:
        return [Place("permutations", [], expected, result)]
    for e, r in zip(theirs, ours):
        name = e[0][0]
        if [kind for kind, _ in e] == [kind for kind, _ in r]:
            texts = {}
            for (kind, a), (_, b) in zip(e, r):
                places.append(Place(f"{name} / {kind}", [step_text(kind, a, texts)], a, b))
        else:
            places.append(Place(name, [], [line for _, b in e for line in b], [line for _, b in r for line in b]))
    return places


def permutations(blocks):
    groups = [[]]
    for block in blocks:
        if block[0].startswith("starting permutation:"):
            groups.append([])
        groups[-1].append(block)
    return [group for group in groups if group]


def step_text(kind, lines, texts):
    """The SQL of a step; a step that had to wait shows it only where the waiting begins."""
    name = kind.split()[1] if kind.startswith("step ") else ""
    if kind.endswith(" completed"):
        return texts.get(name, "")
    table = next((i for i in range(len(lines)) if parse_table(lines, i)), len(lines))
    text = "\n".join(lines[:table])
    texts[name] = re.sub(r"^step \S+:", "", text).replace("<waiting ...>", "").strip()
    return texts[name]
