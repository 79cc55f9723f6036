"""Bytes of columnar tables beside DuckDB's database file of the same data.

    make size SIZE=full

TPC-H (eight tables, scale factor 1; at the small size 0.1) and TSBS-shaped rows (5 million; at the small size 400,000; segment_by
host, order_by time), each at the default options, without indexes, drained and compacted. Exits with 1 above a bar, which at the small
size is a quarter higher.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import duck  # noqa: E402
import tpch  # noqa: E402
import tsbs  # noqa: E402
from harness import scratch, settings  # noqa: E402

CONFIG = {"shared_buffers": "2GB", "max_wal_size": "8GB", "fsync": "off", "autovacuum": "off", "orochi.mover_enabled": "off",
          "unix_socket_directories": ""}
BARS = {"TPC-H": 0.85, "TSBS": 0.9}
#: At the small size most of a table is the first stripes of its load, which are merged: what they took waits to be used again.
MARGIN = settings.size(1.25, 1.0)


def table_size(server, name):
    """Bytes of a compacted table, without what its index entries take."""
    server.query(f"CALL orochi.columnar_compact('{name}')")
    server.query(f"VACUUM {name}")
    companion = server.scalar(f"SELECT reltoastrelid::regclass FROM pg_class WHERE oid = '{name}'::regclass")
    live = server.scalar(f"SELECT pg_relation_size('{name}') + pg_relation_size('{companion}')")
    return int(live)


def load(server, name, create, copy):
    """Creates and fills a table; returns its size and the seconds that COPY took."""
    server.query(create)
    start = time.perf_counter()
    server.query(copy)
    seconds = time.perf_counter() - start
    return table_size(server, name), seconds


def tpch_sizes(server, directory, scale):
    """Sizes of the columnar tables by name, and of DuckDB's file."""
    sizes = {}
    for name, path in tpch.files(scale).items():
        create = tpch.TABLES[name].format("columnar")
        sizes[name], seconds = load(server, name, create, f"COPY {name} FROM '{path}' (FORMAT csv, HEADER)")
        print(f"  {name:10} {sizes[name] / 1e6:9.2f} MB, {seconds:6.1f} s", flush=True)
    return sizes, duck.size(directory / "tpch.duckdb", tpch.for_duckdb(scale))


def tsbs_sizes(server, directory, rows):
    """Size of the columnar table, and of DuckDB's file."""
    path = tsbs.file(rows)
    server.query(tsbs.TABLE.format("cpu", "columnar"))
    server.query("SELECT orochi.columnar_set_options('cpu', segment_by => 'host', order_by => 'time')")
    server.query(f"COPY cpu FROM '{path}' (FORMAT csv)")
    size = table_size(server, "cpu")
    return {"cpu": size}, duck.size(directory / "tsbs.duckdb", tsbs.for_duckdb(rows))


def main():
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=settings.size(0.1, 1))
    parser.add_argument("--rows", type=int, default=settings.size(400_000, 5_000_000))
    parser.add_argument("--only", choices=BARS)
    arguments = parser.parse_args()
    missed = False
    with scratch.server_and_directory("size", CONFIG) as (server, directory):
        directory.chmod(0o777)
        for what, measure in (("TPC-H", lambda: tpch_sizes(server, directory, arguments.scale)),
                              ("TSBS", lambda: tsbs_sizes(server, directory, arguments.rows))):
            if arguments.only not in (None, what):
                continue
            sizes, other = measure()
            total = sum(sizes.values())
            print(f"{what}: columnar {total / 1e6:.1f} MB")
            if other is None:
                continue
            ratio = total / other
            bar = round(BARS[what] * MARGIN, 2)
            missed |= ratio > bar
            print(f"{what}: DuckDB {other / 1e6:.1f} MB, columnar:DuckDB {ratio:.3f}   bar: at most {bar}"
                  f"{'   MISSED' if ratio > bar else ''}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
