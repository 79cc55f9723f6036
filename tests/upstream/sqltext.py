"""Just enough of SQL's and psql's lexical rules to tell the statements of a script apart."""

import bisect
import re
from dataclasses import dataclass
from functools import lru_cache

TOKEN = re.compile(
    r"""(?P<skip>--[^\n]*|/\*.*?\*/)
      | (?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<dollar>\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$)
      | (?P<backslash>\\(?P<command>[;.]|[A-Za-z?!+]+)[^\n]*)
      | (?P<open>[(\[]) | (?P<close>[)\]]) | (?P<end>;)
      | (?P<other>.)""",
    re.S | re.X,
)

# psql's commands that send the statement before them.
SENDING = ("g", "gx", "gset", "gexec", "gdesc", "crosstabview", "watch", "bind", "bind_named", "parse")
COPY_IN = re.compile(r"\s*copy\b.*\bfrom\s+stdin\b", re.I | re.S)
INDIRECT = re.compile(r"^\s*(?:fetch\b.*?(\w+)|execute\s+(\w+)[^;]*);?\s*$", re.I | re.S)
READ_NAME = re.compile(r"\b(?:from|join)\s+(\w+)", re.I)


@dataclass
class Statement:
    """A statement or psql command; `last` is the number, from 0, of the line that completes it."""

    text: str
    last: int


def split_statements(script, echoed=()):
    """The statements of a psql script in order. Data after COPY FROM STDIN belongs to nothing.

    A COPY that fails takes no data: then psql echoes what follows. `echoed` are the numbers of echoed lines."""
    line_starts = [0] + [m.end() for m in re.finditer("\n", script)]
    statements, start, depth, position = [], 0, 0, 0

    def finish(end):
        nonlocal start, depth
        text = script[start:end].strip()
        if text:
            statements.append(Statement(text, bisect.bisect_right(line_starts, end - 1) - 1))
        start, depth = end, 0
        return text

    while position < len(script):
        token = TOKEN.match(script, position)
        position = token.end()
        kind = token.lastgroup if token.lastgroup not in ("tag", "command") else None
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth = max(0, depth - 1)
        elif token["backslash"] and token["command"] != ";":
            starts_statement = not code_only(script[start:token.start()]).strip()
            if starts_statement or token["command"] in SENDING:
                finish(position)
        elif token["backslash"]:
            position = token.start("command") + 1  # \; joins two statements of one message
        elif kind == "end" and depth == 0:
            copying = COPY_IN.match(finish(position))
            if copying and next_line(script, line_starts, statements[-1].last) not in echoed:
                start = position = end_of_copy_data(script, position)
    finish(len(script))
    return statements


def next_line(script, line_starts, line):
    """The number of the first line after `line` that is not blank; psql does not echo blank lines."""
    following = (i for i in range(line + 1, len(line_starts)) if script[line_starts[i]:script.find("\n", line_starts[i])].strip())
    return next(following, None)


def end_of_copy_data(script, position):
    found = re.compile(r"^\\\.$", re.M).search(script, position)
    return found.end() if found else len(script)


@lru_cache(maxsize=None)
def code_only(text):
    """`text` without comments, and with literals and quoted names emptied where they could hold keywords."""
    def replace(token):
        if token["skip"]:
            return " "
        if token["dollar"] or (token["quoted"] and not token["quoted"].startswith('"')):
            return "''"
        return token[0]
    return TOKEN.sub(replace, text)


def without_comments(text):
    return TOKEN.sub(lambda token: " " if token["skip"] else token[0], text)


def with_definition(text, earlier):
    """The text of a FETCH or EXECUTE together with every query that its cursor or prepared statement had."""
    return "\n".join([text] + (made_before("declare|prepare", run_name(text), earlier) if run_name(text) else []))


def definitions(text, earlier):
    """The text, and the latest definition of the cursor or prepared statement that it runs, or of views that it reads."""
    if run_name(text):
        return [text] + made_before("declare|prepare", run_name(text), earlier)[-1:]
    view = r"create\s+(?:or\s+replace\s+)?(?:temp\w*\s+)?view"
    names = dict.fromkeys(READ_NAME.findall(code_only(text)))
    return [text] + [made for name in names for made in made_before(view, name, earlier)[-1:]]


def run_name(text):
    found = INDIRECT.match(code_only(text))
    return found and (found[1] or found[2])


def made_before(command, name, earlier):
    made = re.compile(rf"\s*(?:{command})\s+{re.escape(name)}\b", re.I)
    return [other for other in earlier if made.match(code_only(other))]


def top_level(text):
    """`text` without comments, literals and whatever stands in parentheses."""
    depth, kept = 0, []
    for character in code_only(text):
        if character in "([":
            depth += 1
        if depth == 0:
            kept.append(character)
        if character in ")]" and depth > 0:
            depth -= 1
            kept.append("()" if depth == 0 else "")
    return "".join(kept)


def order_keys(text):
    """The outermost ORDER BY's items as names or column numbers; None without one, an unknown item as ''."""
    found = re.search(r"\border\s+by\b(.*)", top_level(text), re.I | re.S)
    if not found:
        return None
    items = re.split(r"\b(?:limit|offset|fetch|for|union|into)\b|;|\\", found[1], maxsplit=1, flags=re.I)[0]
    return [order_key(item) for item in items.split(",")]


def order_key(item):
    words = re.sub(r"\b(asc|desc|nulls\s+(first|last))\b|\bcollate\s+\S+|\busing\s+\S+", " ", item, flags=re.I).split()
    if len(words) != 1 or not re.fullmatch(r'(?:[\w"]+\.)*("[^"]+"|\w+)', words[0]):
        return ""
    return words[0].rpartition(".")[2].strip('"').lower()


def key_columns(text, header):
    """The numbers, from 0, of the columns that the outermost ORDER BY sorts by.

    None without ORDER BY; empty when some key is no column of the output."""
    keys, names, columns = order_keys(text), [name.lower() for name in header], []
    if keys is None:
        return None
    for key in keys:
        if key.isdigit() and 1 <= int(key) <= len(header):
            columns.append(int(key) - 1)
        elif names.count(key) == 1:
            columns.append(names.index(key))
        else:
            return []
    return columns
