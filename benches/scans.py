"""Loads, scans and look-ups of columnar tables beside heaps, with PostgreSQL's executor and one process.

    make scans SIZE=full

COPY of TPC-H (scale factor 1; at the small size 0.1), its queries 1 and 6, and on TSBS-shaped rows (5 million; at the small size
400,000; segment_by host, order_by time) one hour of one host and the latest row of each host, both tables with an index on
(host, time desc). Each side has one session. The sides take turns; the best of several runs counts. Exits with 1 above a bar.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tpch  # noqa: E402
import tsbs  # noqa: E402
from harness import scratch, settings  # noqa: E402

SIDES = ("heap", "columnar")
CONFIG = {"shared_buffers": "4GB", "max_wal_size": "16GB", "fsync": "off", "autovacuum": "off", "orochi.mover_enabled": "off",
          "jit": "off", "max_parallel_workers_per_gather": "0", "orochi.copy_workers": "0", "orochi.enable_vectorized_execution": "off",
          "work_mem": "256MB", "unix_socket_directories": ""}
#: At the small size noise may cost this much of a bar.
MARGIN = 0.6
TPCH = {
    "TPC-H Q1": (1.0, """SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), sum(l_extendedprice * (1 - l_discount)),
        sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*)
        FROM lineitem WHERE l_shipdate <= date '1998-12-01' - interval '90 days' GROUP BY 1, 2 ORDER BY 1, 2"""),
    "TPC-H Q6": (1.0, """SELECT sum(l_extendedprice * l_discount) FROM lineitem WHERE l_shipdate >= date '1994-01-01'
        AND l_shipdate < date '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24"""),
}
TSBS = {
    "one hour of one host": (3.0, """SELECT date_trunc('minute', time), max(usage_user), avg(usage_system) FROM cpu
        WHERE host = 'host_249' AND time >= '2024-01-01 00:10:00+00' AND time < '2024-01-01 01:10:00+00' GROUP BY 1 ORDER BY 1"""),
    "latest row of each host": (3.0, """SELECT h, l.* FROM generate_series(0, 399) h, LATERAL (SELECT * FROM cpu
        WHERE host = 'host_' || h ORDER BY time DESC LIMIT 1) l"""),
}


def best_of(server, query, rounds):
    """Best time of a query per side, in seconds, after one run that fills caches; the results have to be equal."""
    best, results = dict.fromkeys(SIDES, 1e9), {}
    connections = {side: server.connect(options={"search_path": side}) for side in SIDES}
    for number in range(rounds + 1):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            with connections[side].cursor() as cursor:
                start = time.perf_counter()
                cursor.execute(query)
                rows = cursor.fetchall()
                seconds = time.perf_counter() - start
            if number > 0:
                best[side] = min(best[side], seconds)
            if results.setdefault(side, rows) != rows or results["heap"] != results.get("columnar", results["heap"]):
                sys.exit(f"the results differ: {query}")
    for connection in connections.values():
        connection.close()
    return best


class Bars:
    """Prints ratios and remembers whether all bars are met."""

    def __init__(self):
        self.met = True

    def check(self, name, best, most):
        """One ratio of times."""
        ratio = best["columnar"] / best["heap"]
        good = ratio <= most / (1.0 if settings.SIZE == "full" else MARGIN)
        self.met &= good
        print(f"{name:26} heap {best['heap'] * 1000:10.1f} ms, columnar {best['columnar'] * 1000:10.1f} ms, ratio {ratio:6.3f}"
              f"   bar: at most {most}{'' if good else '   MISSED'}", flush=True)


def copy_tpch(server, scale, rounds):
    """Best time per side of loading all tables; they are there afterwards."""
    best = dict.fromkeys(SIDES, 1e9)
    files = tpch.files(scale)
    for number in range(rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            seconds = 0.0
            for name, create in tpch.TABLES.items():
                server.query(f"DROP TABLE IF EXISTS {side}.{name}")
                server.query(create.replace(f"TABLE {name}", f"TABLE {side}.{name}").format(side))
                start = time.perf_counter()
                server.query(f"COPY {side}.{name} FROM '{files[name]}' (FORMAT csv, HEADER)")
                seconds += time.perf_counter() - start
            best[side] = min(best[side], seconds)
            server.query("CHECKPOINT")
    return best


def main():
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=settings.size(0.1, 1))
    parser.add_argument("--rows", type=int, default=settings.size(400_000, 5_000_000))
    parser.add_argument("--rounds", type=int, default=settings.size(3, 5))
    parser.add_argument("--only", choices=("TPC-H", "TSBS"))
    arguments = parser.parse_args()
    bars = Bars()
    with scratch.server_and_directory("scans", CONFIG) as (server, _):
        for side in SIDES:
            server.query(f"CREATE SCHEMA {side}")
        if arguments.only != "TSBS":
            bars.check("COPY of TPC-H", copy_tpch(server, arguments.scale, settings.size(2, 4)), 1.25)
            for side in SIDES:
                server.query(f"VACUUM ANALYZE {side}.lineitem")
            for name, (most, query) in TPCH.items():
                bars.check(name, best_of(server, query, arguments.rounds), most)
        if arguments.only != "TPC-H":
            for side in SIDES:
                tsbs.load(server, side, side, arguments.rows)
            for name, (most, query) in TSBS.items():
                bars.check(name, best_of(server, query, arguments.rounds), most)
    sys.exit(0 if bars.met else 1)


if __name__ == "__main__":
    main()
