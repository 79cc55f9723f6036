"""Loads the flights into a heap and into a columnar table, and shows both side by side.

The same statements run on both tables and their results are compared: the demo fails when they differ.
"""

import argparse
import os
from pathlib import Path

import data
from sides import HERE, METHOD, SCHEMAS, TABLES, Sides, show, statements, title

CHECKSUM = "SELECT count(*), sum(dep_delay), sum(arr_delay), sum(hashtext(f::text)::bigint) FROM flights f"


def load(sides, directory):
    rows = []
    for side in SCHEMAS:
        sides.use(side)
        sides.create_tables()
        seconds = [sides.copy(table, directory) for table in TABLES]
        seconds.append(sides.run("ALTER TABLE flights ADD PRIMARY KEY (time_hour, flight, carrier)")[1])
        rows.append(["heap" if side == "heap" else METHOD, *(f"{s:.2f}" for s in seconds)])
    show(["seconds", "COPY flights", "COPY weather", "ADD PRIMARY KEY"], rows)


def sizes(sides):
    rows = []
    for table in TABLES:
        heap, ours = sides.megabytes("pg_table_size", table)
        indexes = sides.megabytes("pg_indexes_size", table)
        rows.append([table, f"{heap:.2f}", f"{ours:.2f}", f"{heap / ours:.1f}", *(f"{v:.2f}" for v in indexes)])
    show(["MB", "heap", METHOD, f"heap:{METHOD}", "indexes: heap", f"indexes: {METHOD}"], rows)


def queries(sides):
    rows = []
    for name, sql in statements(HERE / "queries.sql"):
        heap, ours = sides.best_of(3, sql)
        rows.append([name, f"{heap:.1f}", f"{ours:.1f}", f"{heap / ours:.1f}"])
    show(["best of three, ms", "heap", METHOD, f"heap:{METHOD}"], rows)


def explain(sides):
    sides.use("columnar")
    query = next(sql for name, sql in statements(HERE / "queries.sql") if name.startswith("range"))
    print("  " + query.strip().replace("\n", "\n  "))
    for (line,) in sides.run("EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF) " + query)[0]:
        print("    " + line)


def changes(sides):
    rows = []
    for name, sql in statements(HERE / "changes.sql"):
        count, heap, ours = sides.on_both(sql)
        rows.append([name, count, f"{heap * 1000:.0f}", f"{ours * 1000:.0f}"])
    show(["statement", "rows", "heap, ms", f"{METHOD}, ms"], rows)
    (checksum,), _, _ = sides.on_both(CHECKSUM)
    print(f"  afterwards both tables hold the same {checksum[0]} rows")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True, help="directory of the server's socket")
    parser.add_argument("--data", required=True, type=Path, help="directory for the CSV files")
    arguments = parser.parse_args()
    title("Data")
    print("  " + data.prepare(arguments.data, os.environ.get("OROCHI_DEMO_DATA") == "generated"))
    sides = Sides(arguments.socket, "demo")
    title("Loading")
    load(sides, arguments.data)
    title("Sizes after compaction")
    sides.compact()
    sizes(sides)
    title("Queries (the results are compared)")
    queries(sides)
    title("How one of them ran")
    explain(sides)
    title("Changes (the tables are compared)")
    changes(sides)
    title("SELECT * FROM orochi.health()")
    sides.table("SELECT * FROM orochi.health()")
    print("\nmake psql connects (columnar tables in schema public, heaps in schema heap); make stop ends the server.")


if __name__ == "__main__":
    main()
