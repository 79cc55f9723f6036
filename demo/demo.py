"""Loads the flights into a heap and into a columnar table, and shows both side by side.

The same statements run on both tables and their results are compared: the demo fails when they differ.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import psycopg2

import data

HERE = Path(__file__).parent
SCHEMAS = {"heap": "heap", "columnar": "public"}
CHECKSUM = "SELECT count(*), sum(dep_delay), sum(arr_delay), sum(hashtext(f::text)::bigint) FROM flights f"


def statements(name):
    """The statements of an SQL file beside this one, each with the comment above it."""
    for part in (HERE / name).read_text().split("\n\n")[1:]:
        comment, sql = part.split("\n", 1)
        yield comment.removeprefix("-- "), sql


def title(text):
    print(f"\n\033[1m==> {text}\033[0m")


def show(header, rows):
    """Prints rows as a table; numbers to the right."""
    lines = [header, *[["" if v is None else str(v) for v in row] for row in rows]]
    widths = [max(len(line[n]) for line in lines) for n in range(len(header))]
    numeric = [bool(rows) and all(str(row[n])[:1].isdigit() for row in rows) for n in range(len(header))]
    for line in lines:
        cells = (c.rjust(w) if number else c.ljust(w) for c, w, number in zip(line, widths, numeric))
        print("  " + "  ".join(cells).rstrip())


class Demo:
    def __init__(self, socket, method):
        self.socket = socket
        self.method = method
        self.connection = None

    def connect(self, database):
        connection = psycopg2.connect(host=self.socket, user="postgres", dbname=database)
        connection.autocommit = True
        return connection

    def create_database(self):
        self.connection = self.connect("postgres")
        self.run("DROP DATABASE IF EXISTS demo WITH (FORCE)")
        self.run("CREATE DATABASE demo")
        self.connection.close()
        self.connection = self.connect("demo")
        self.run("CREATE EXTENSION orochi")
        self.run("CREATE SCHEMA heap")

    def run(self, sql):
        """Runs one statement; returns its rows and the seconds it took."""
        with self.connection.cursor() as cursor:
            start = time.perf_counter()
            cursor.execute(sql)
            rows = cursor.fetchall() if cursor.description else cursor.rowcount
            return rows, time.perf_counter() - start

    def table(self, sql):
        """Shows what a query returns, with its own column names."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            show([c.name for c in cursor.description], cursor.fetchall())

    def use(self, side):
        self.run(f"SET search_path = {SCHEMAS[side]}")
        self.run(f"SET default_table_access_method = {'heap' if side == 'heap' else self.method}")

    def copy(self, table, directory):
        with self.connection.cursor() as cursor, open(directory / f"{table}.csv") as file:
            start = time.perf_counter()
            cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT csv, HEADER, NULL '{data.NULL}')", file)
            return time.perf_counter() - start

    def on_both(self, sql):
        """Runs a statement on both tables; stops when the results are not the same."""
        answers = {}
        for side in SCHEMAS:
            self.use(side)
            answers[side] = self.run(sql)
        if answers["heap"][0] != answers["columnar"][0]:
            sys.exit(f"demo: heap and {self.method} disagree about\n{sql}\n{answers}")
        return answers["heap"][0], answers["heap"][1], answers["columnar"][1]

    def load(self, directory):
        rows = []
        for side in SCHEMAS:
            self.use(side)
            self.run((HERE / "tables.sql").read_text())
            seconds = [self.copy(table, directory) for table in ("flights", "weather")]
            keys = self.run("ALTER TABLE flights ADD PRIMARY KEY (time_hour, flight, carrier)")[1]
            rows.append([self.label(side), *(f"{s:.2f} s" for s in seconds), f"{keys:.2f} s"])
        show(["table", "COPY flights", "COPY weather", "ADD PRIMARY KEY"], rows)

    def label(self, side):
        return "heap" if side == "heap" else self.method

    def compact(self):
        self.use("columnar")
        for table in ("flights", "weather"):
            if self.method == "columnar":
                self.run(f"CALL orochi.columnar_compact('{table}')")
        for schema in SCHEMAS.values():
            for table in ("flights", "weather"):
                self.run(f"VACUUM ANALYZE {schema}.{table}")

    def sizes(self):
        rows = []
        for table in ("flights", "weather"):
            row = [table]
            for what in ("pg_table_size", "pg_indexes_size"):
                row += [self.run(f"SELECT {what}('{s}.{table}')")[0][0][0] / 1024**2 for s in SCHEMAS.values()]
            ratio = f"{row[1] / row[2]:.1f}" if row[2] else ""
            rows.append([table, *(f"{v:.2f}" for v in row[1:3]), ratio, *(f"{v:.2f}" for v in row[3:])])
        ours = self.method
        show(["MB", "heap", ours, "heap:" + ours, "indexes: heap", "indexes: " + ours], rows)

    def queries(self):
        rows = []
        for name, sql in statements("queries.sql"):
            runs = [self.on_both(sql) for _ in range(4)][1:]
            heap, ours = (min(run[n] for run in runs) * 1000 for n in (1, 2))
            rows.append([name, f"{heap:.1f}", f"{ours:.1f}", f"{heap / ours:.1f}"])
        show(["best of three, ms", "heap", self.method, "heap:" + self.method], rows)

    def explain(self):
        self.use("columnar")
        query = next(sql for name, sql in statements("queries.sql") if name.startswith("range"))
        print("  " + query.strip().replace("\n", "\n  "))
        for (line,) in self.run("EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF) " + query)[0]:
            print("    " + line)

    def changes(self):
        rows = []
        for name, sql in statements("changes.sql"):
            count, heap, ours = self.on_both(sql)
            rows.append([name, count, f"{heap * 1000:.0f}", f"{ours * 1000:.0f}"])
        show(["statement", "rows", "heap, ms", self.method + ", ms"], rows)
        (checksum,), _, _ = self.on_both(CHECKSUM)
        print(f"  afterwards both tables hold the same {checksum[0]} rows")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True, help="directory of the server's socket")
    parser.add_argument("--data", required=True, type=Path, help="directory for the CSV files")
    arguments = parser.parse_args()
    demo = Demo(arguments.socket, os.environ.get("OROCHI_DEMO_AM", "columnar"))
    title("Data")
    print("  " + data.prepare(arguments.data, os.environ.get("OROCHI_DEMO_DATA") == "generated"))
    demo.create_database()
    title("Loading")
    demo.load(arguments.data)
    title("Sizes after compaction")
    demo.compact()
    demo.sizes()
    title("Queries (the results are compared)")
    demo.queries()
    title("How one of them ran")
    demo.explain()
    title("Changes (the tables are compared)")
    demo.changes()
    title("SELECT * FROM orochi.health()")
    demo.table("SELECT * FROM orochi.health()")
    print("\nmake psql connects (columnar tables in schema public, heaps in schema heap); make stop ends the server.")


if __name__ == "__main__":
    main()
