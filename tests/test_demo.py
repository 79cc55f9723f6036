"""The demo's own statements, by a role that may create objects in one database and nothing else."""

import sys
from pathlib import Path

import psycopg2
import pytest

from harness import settings

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))
import data  # noqa: E402
import demo  # noqa: E402
import sides  # noqa: E402

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="the demo is about columnar tables")

#: Made-up flights; so few that the demo takes seconds.
FLIGHTS = settings.size(20_000, 300_000)


class OwnSides(sides.Sides):
    """The demo's two sides over a connection of the test's."""

    def __init__(self, connection):  # pylint: disable=super-init-not-called
        self.connection = connection
        self.run("CREATE SCHEMA heap")


@pytest.fixture
def analyst(server, database):
    """A connection of a role that owns nothing when it starts."""
    server.query("CREATE ROLE analyst LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
    server.query(f'GRANT CREATE ON DATABASE "{database}" TO analyst')
    server.query("GRANT CREATE ON SCHEMA public TO analyst", database=database)
    connection = psycopg2.connect(server.dsn(database, "analyst"))
    connection.autocommit = True
    yield connection
    connection.close()
    server.query("DROP OWNED BY analyst CASCADE", database=database)
    server.query("DROP ROLE analyst")


def test_as_ordinary_role(analyst, tmp_path, monkeypatch, capsys):
    """Loading, compaction, sizes, queries, plans and changes need no rights beyond those on one's own tables."""
    monkeypatch.setattr(data, "FLIGHTS", FLIGHTS)
    data.prepare(tmp_path, generated=True)
    both = OwnSides(analyst)
    demo.load(both, tmp_path)
    both.compact()
    demo.sizes(both)
    demo.queries(both)
    demo.explain(both)
    demo.changes(both)
    both.table("SELECT * FROM orochi.health()")
    shown = capsys.readouterr().out
    assert f"both tables hold the same {_rows(both)} rows" in shown
    assert not [notice for notice in analyst.notices if "WARNING" in notice]


def _rows(both):
    both.use("columnar")
    return both.run("SELECT count(*) FROM flights")[0][0][0]
