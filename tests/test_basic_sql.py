"""Every kind of statement on a columnar table does what it does on a heap: scripts of basic/, run on both."""

import itertools
from pathlib import Path

import pytest

from harness import script, settings

SCRIPTS = sorted((Path(__file__).parent / "basic").glob("*.sql"))
MODES = list(script.MODES) if settings.COLUMNAR else ["row_store"]
_numbers = itertools.count()


@pytest.fixture
def databases(server):
    """Two databases: tables are heaps in the first and use the access method under test in the second."""
    number = next(_numbers)
    names = [f"basic_{number}_heap", f"basic_{number}_test"]
    script.prepare_database(server, names[0], "heap")
    script.prepare_database(server, names[1], settings.ACCESS_METHOD)
    yield names
    server.wait_ready()
    for name in names:
        server.query(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(server, databases, path, mode):
    """All outcomes are equal: rows, status, SQLSTATE, constraint, message, notices."""
    steps = script.parse(path.read_text(encoding="utf-8"))
    expected = script.ScriptRun(server, databases[0]).run(steps)
    actual = script.ScriptRun(server, databases[1], mode if settings.COLUMNAR else None).run(steps)
    found = script.differences(steps, expected, actual)
    assert not found, "\n\n".join(found)
