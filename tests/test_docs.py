"""The documentation: its SQL runs, and its lists of settings, functions, metrics and checks are complete.

A block of SQL may have comments before it that say what else is to happen:

    <!-- error: 55000 -->           its last statement fails with this SQLSTATE
    <!-- not run: REASON -->        it is left alone
    <!-- without the library -->    it runs on a server that does not preload the library
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import process, settings

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="the documentation is about columnar tables")

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_COMMENT = re.compile(r"<!-- (?P<word>error|not run|without the library)(?:: (?P<rest>.+?))? -->")


class Block(NamedTuple):
    """A fenced block of SQL: the line of its first statement, its text, and the comments before it."""

    line: int
    text: str
    marks: dict


def blocks(page):
    """The blocks of SQL of a page."""
    found, marks, body, first = [], {}, None, 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if body is not None:
            if line.startswith("```"):
                found.append(Block(first, "\n".join(body), marks))
                marks, body = {}, None
            else:
                body.append(line)
        elif line == "```sql":
            body, first = [], number + 1
        elif line.startswith("<!--"):
            comment = _COMMENT.fullmatch(line)
            assert comment, f"{page.name}:{number}: unknown comment {line}"
            marks[comment["word"]] = comment["rest"]
        elif line:
            assert not marks, f"{page.name}:{number}: a comment about SQL without SQL after it"
    assert body is None and not marks, f"{page.name} ends inside a block"
    return found


def run(server, database, page, block):
    """Runs a block as a session of its own; psql splits it, and counts lines as the page does."""
    text = "\n" * (block.line - 1) + block.text
    done = server.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d", server.dsn(database), "-f", "-",
                      stdin=text, check=False)
    expected = block.marks.get("error")
    if expected is None:
        message = done.stderr.replace("psql:<stdin>", page.name)
        assert done.returncode == 0, f"{page.name}:{block.line}: the block fails\n{message}"
        return
    error = re.search(r"^psql:<stdin>:(\d+): ERROR:  (\w{5}):", done.stderr, re.M)
    assert error and error[2] == expected, f"{page.name}:{block.line}: not the error {expected}\n{done.stderr}"
    last = block.line + block.text.rstrip().count("\n")
    assert int(error[1]) == last, f"{page.name}:{error[1]}: the error is not of the block's last statement\n{done.stderr}"


def with_sql(mark=None):
    """The pages that have blocks for a server of the kind asked for, and these blocks."""
    def wanted(block):
        return "not run" not in block.marks and ("without the library" in block.marks) == (mark is not None)
    chosen = {page: [block for block in blocks(page) if wanted(block)] for page in PAGES}
    return [pytest.param(page, some, id=page.name) for page, some in chosen.items() if some]


@pytest.mark.parametrize("page, some", with_sql())
def test_sql(server, database, page, some):
    """Every block of a page does what the page says, one after the other."""
    if any("CREATE EXTENSION orochi;" in block.text for block in some):
        server.query("DROP EXTENSION orochi", database=database)
    for block in some:
        run(server, database, page, block)


@pytest.mark.parametrize("page, some", with_sql("without the library"))
def test_sql_without_the_library(make_server, page, some):
    """The blocks about servers that do not preload the library, on tables made when it was."""
    server = make_server(name="docs")
    server.create_database("docs")
    server.query("CREATE TABLE measurements (device int PRIMARY KEY, value float8) USING columnar", database="docs")
    server.query("INSERT INTO measurements VALUES (7, 0)", database="docs")
    server.query("CREATE TABLE plain (a int)", database="docs")
    server.stop()
    server.configure({"shared_preload_libraries": ""})
    server.start()
    for block in some:
        run(server, "docs", page, block)


def tables(page):
    """The rows of a page's tables, as lists of cells without the code marks."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


def first_cells(page, section):
    """What the first column of the tables in a section of a page lists."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    body = re.search(rf"^(#+) {re.escape(section)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.M | re.S)
    assert body, f"{page} has no section {section}"
    return set(re.findall(r"^\| `([^`]+)`", body[2], re.M))


def _bounds(unit, low, high, values, kind):
    if kind == "bool":
        return "on, off"
    if kind == "enum":
        return ", ".join(values.strip("{}").split(","))
    return f"{int(low):,} to {int(high):,}" + (f" {unit}" if unit else "")


def test_settings(server, database):
    """docs/settings.md has every setting with its range, default and context, and no other."""
    rows = server.query("""SELECT name, boot_val, unit, min_val, max_val, enumvals, vartype, context FROM pg_settings
        WHERE name LIKE 'orochi.%%'""", (), database=database)
    takes = {"user": "session", "sighup": "reload", "postmaster": "restart", "superuser": "superuser"}
    real = {name: (_bounds(unit, low, high, values, kind), default, takes[context])
            for name, default, unit, low, high, values, kind, context in rows}
    documented = {row[0]: (row[1], row[2].replace(",", ""), row[3]) for row in tables("settings.md") if row[0].startswith("orochi.")}
    assert documented == real


def test_functions(server, database):
    """docs/sql.md has a section with the signature of every function and procedure in the schema, and no other."""
    rows = server.query("""SELECT proname, array_to_string(ARRAY(SELECT concat_ws(' ', proargnames[i], format_type(proargtypes[i - 1], NULL))
            FROM generate_series(1, pronargs) i), ', ')
        FROM pg_proc WHERE pronamespace = 'orochi'::regnamespace""", database=database)
    text = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    documented = re.findall(r"^### `(\w+)\((.*)\)`", text, re.M)
    assert sorted(documented) == sorted(rows)


def test_metrics(server, database):
    """docs/runbook.md lists every metric, and no other."""
    server.query("CREATE TABLE t (a int) USING columnar", database=database)
    blocker = server.connect(database, autocommit=False)
    try:
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
        server.query("INSERT INTO t VALUES (1)", database=database)
        process.wait_until(lambda: server.query("SELECT 1 FROM orochi.metrics() WHERE name = 'worker_heartbeat_age_seconds' AND labels ? 'database'",
                                                database=database), 20, "the worker runs", 0.1)
        real = {name for name, in server.query("SELECT name FROM orochi.metrics()", database=database)}
    finally:
        blocker.close()
    assert first_cells("runbook.md", "Metrics") == real


def test_health_checks(server, database):
    """docs/runbook.md lists every health check, those included that have nothing to say now, and no other."""
    known = set()
    for path in (ROOT / "src").rglob("*.rs"):
        text = path.read_text(encoding="utf-8")
        names = re.findall(r'HealthRow::new\(\s*(?:"([^"]+)"|([A-Z_]+))', text)
        constants = dict(re.findall(r'const ([A-Z_]+): &str = "([^"]*)"', text))
        known |= {literal or constants[constant] for literal, constant in names}
    now = {name for name, in server.query('SELECT "check" FROM orochi.health()', database=database)}
    assert now <= known
    assert first_cells("runbook.md", "Health checks") == known


def anchors(page):
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    """Links between files of the repository lead somewhere."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}#{anchor}"
