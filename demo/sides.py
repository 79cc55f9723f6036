"""The same tables as heaps (schema heap) and with the access method to look at (schema public)."""

import os
import sys
import time
from pathlib import Path

import psycopg2

import data

HERE = Path(__file__).parent
SCHEMAS = {"heap": "heap", "columnar": "public"}
TABLES = ("flights", "weather")
# The access method that is compared with heap.
METHOD = os.environ.get("OROCHI_DEMO_AM", "columnar")


def statements(path):
    """The statements of an SQL file, each with the comment above it."""
    for part in path.read_text().split("\n\n")[1:]:
        comment, sql = part.split("\n", 1)
        yield comment.removeprefix("-- "), sql


def title(text):
    print(f"\n\033[1m==> {text}\033[0m", flush=True)


def show(header, rows):
    """Prints rows as a table; numbers to the right."""
    lines = [header, *[["" if v is None else str(v) for v in row] for row in rows]]
    widths = [max(len(line[n]) for line in lines) for n in range(len(header))]
    numeric = [bool(rows) and all(str(row[n])[:1].isdigit() for row in rows) for n in range(len(header))]
    for line in lines:
        cells = (c.rjust(w) if number else c.ljust(w) for c, w, number in zip(line, widths, numeric))
        print("  " + "  ".join(cells).rstrip())


class Sides:
    """A database with both kinds of tables, made anew."""

    def __init__(self, socket, database):
        self.connection = connect(socket, "postgres")
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.run(f"CREATE DATABASE {database}")
        self.connection.close()
        self.connection = connect(socket, database)
        self.run("CREATE EXTENSION orochi")
        self.run("CREATE SCHEMA heap")

    def run(self, sql):
        """Runs one statement; returns its rows (or how many it changed) and the seconds it took."""
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
        """Makes the statements that follow mean the tables of one side."""
        self.run(f"SET search_path = {SCHEMAS[side]}")
        self.run(f"SET default_table_access_method = {'heap' if side == 'heap' else METHOD}")

    def create_tables(self):
        self.run((HERE / "tables.sql").read_text())

    def copy(self, table, directory):
        """Loads a CSV file; returns the seconds it took."""
        with self.connection.cursor() as cursor, open(directory / f"{table}.csv") as file:
            start = time.perf_counter()
            cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT csv, HEADER, NULL '{data.NULL}')", file)
            return time.perf_counter() - start

    def on_both(self, sql):
        """Runs a statement on both sides; stops when the results are not the same."""
        answers = {}
        for side in SCHEMAS:
            self.use(side)
            answers[side] = self.run(sql)
        if answers["heap"][0] != answers["columnar"][0]:
            sys.exit(f"heap and {METHOD} disagree about\n{sql}\n{answers}")
        return answers["heap"][0], answers["heap"][1], answers["columnar"][1]

    def best_of(self, times, sql):
        """The shortest of several runs on each side, in milliseconds, after one that is not counted."""
        runs = [self.on_both(sql) for _ in range(times + 1)][1:]
        return tuple(min(run[n] for run in runs) * 1000 for n in (1, 2))

    def compact(self):
        """Brings both sides into the state that a while of background work would leave."""
        for table in TABLES:
            if METHOD == "columnar":
                self.run(f"CALL orochi.columnar_compact('public.{table}')")
            for schema in SCHEMAS.values():
                self.run(f"VACUUM ANALYZE {schema}.{table}")

    def megabytes(self, function, table):
        """What a size function says about a table on each side."""
        return tuple(self.run(f"SELECT {function}('{s}.{table}')")[0][0][0] / 1024**2 for s in SCHEMAS.values())


def connect(socket, database):
    connection = psycopg2.connect(host=socket, user="postgres", dbname=database)
    connection.autocommit = True
    return connection
