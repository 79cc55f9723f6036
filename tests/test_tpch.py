"""Every query of TPC-H returns on columnar tables, byte for byte, what it returns on heaps, whichever way it is run."""

import sys
from pathlib import Path

import pytest

from harness import settings
from harness.server import Server

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benches"))
import queries_tpch  # noqa: E402
import results  # noqa: E402
import tpch  # noqa: E402

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="compares columnar tables with heaps")

SCALE = settings.size(0.02, 1.0)
CONFIG = {"shared_buffers": settings.size("256MB", "2GB"), "max_wal_size": "8GB", "autovacuum": "off", "orochi.mover_enabled": "off",
          "max_worker_processes": "16", "work_mem": settings.size("16MB", "128MB")}
SERIAL = {"max_parallel_workers_per_gather": 0}
#: How columnar tables are asked.
WAYS = {
    "serial": SERIAL,
    "parallel": {"max_parallel_workers_per_gather": 2, "parallel_setup_cost": 0, "parallel_tuple_cost": 0, "min_parallel_table_scan_size": 0,
                 "min_parallel_index_scan_size": 0},
    "low memory": {**SERIAL, "work_mem": "64kB", "hash_mem_multiplier": 1},
    "low memory, parallel": {"max_parallel_workers_per_gather": 2, "parallel_setup_cost": 0, "parallel_tuple_cost": 0,
                             "min_parallel_table_scan_size": 0, "work_mem": "64kB", "hash_mem_multiplier": 1},
    "no index scans": {**SERIAL, "enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"},
}
QUERIES = {query.title: query for query in queries_tpch.queries(SCALE)}


class Twins:
    """All tables as heaps and as columnar ones, and what the queries return on heaps."""

    def __init__(self, server):
        self.server = server
        self.updated = False
        self.expected = {}
        connection = server.connect()
        tpch.load(connection, "heap", "heap", SCALE)
        tpch.load(connection, "columnar", "columnar", SCALE)
        connection.close()

    def update(self):
        """Changes the same rows in both, once; on columnar ones they stay in the row store."""
        if self.updated:
            return
        connection = self.server.connect()
        for schema in ("heap", "columnar"):
            tpch.update(connection, schema)
        connection.close()
        self.updated, self.expected = True, {}

    def result(self, query, schema, options):
        """What a query returns."""
        connection = self.server.connect(options={**options, "search_path": schema, "statement_timeout": settings.size("120s", "1200s")})
        try:
            with connection.cursor() as cursor:
                cursor.execute(query.sql)
                return results.of_postgres(cursor.fetchall(), cursor.description)
        finally:
            connection.close()

    def plan(self, query, options):
        """Text of a columnar plan."""
        connection = self.server.connect(options={**options, "search_path": "columnar"})
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {query.sql}")
                return "\n".join(row[0] for row in cursor.fetchall())
        finally:
            connection.close()

    def check(self, query, options):
        """Compares a query on both."""
        if query.name not in self.expected:
            self.expected[query.name] = self.result(query, "heap", SERIAL)
        different = results.difference(self.expected[query.name], self.result(query, "columnar", options), query.ordered)
        assert different is None, f"{query.title}: {different}"


@pytest.fixture(scope="module")
def twins(installation):
    """Loaded tables on a server of their own."""
    if tpch.generator() is None:
        pytest.skip("the generator of TPC-H cannot be had")
    server = Server(installation, config=CONFIG, name="tpch")
    try:
        server.init().start()
        server.query("CREATE EXTENSION orochi")
        yield Twins(server)
        assert not server.disasters()
    finally:
        server.destroy()


def skip_if_hopeless(title, way):
    """Some queries need an index; all but one of them end without if tables are small."""
    if way == "no index scans" and QUERIES[title].name in (queries_tpch.CORRELATED if settings.SIZE == "full" else {"20"}):
        pytest.skip("scans the table for each row of another one")


# One function, so that one server does for all of it.
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("title", QUERIES)
@pytest.mark.parametrize("state", ("moved", "updated"))
def test_query(twins, title, way, state):
    """First all rows are in stripes, then a twentieth has been updated and nothing moved since."""
    skip_if_hopeless(title, way)
    if state == "updated":
        twins.update()
    assert twins.updated == (state == "updated"), "the tests of updated rows come last"
    if title in ("Q1", "Q3"):
        plan = twins.plan(QUERIES[title], WAYS[way])
        assert title != "Q1" or ("Gather" in plan) == ("parallel" in way), plan
        assert title != "Q3" or "VectorJoin" in plan, plan
        assert way != "no index scans" or "Index Scan" not in plan, plan
    twins.check(QUERIES[title], WAYS[way])
