"""Columnar against heap on the demo's flights, repeated to a larger table. Prints ratios.

Both sides run in the same server in the same minutes, so only the ratios mean something. Where a
statement returns something, the results are compared as well.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))
import data  # noqa: E402
from sides import HERE, METHOD, SCHEMAS, TABLES, Sides, show, statements, title  # noqa: E402

MORE_QUERIES = [
    ("count(*)", "SELECT count(*) FROM flights"),
    ("one column", "SELECT sum(distance) FROM flights"),
    ("whole rows", "SELECT count(*), sum(hashtext(f::text)::bigint) FROM flights f"),
    ("one day without its year", "SELECT count(*), sum(air_time) FROM flights WHERE month = 7 AND day = 4"),
    ("text equality", "SELECT count(*) FROM flights WHERE tailnum = 'N14228'"),
]
LOOKUPS = 500
INSERTS = 500


def load(sides, directory, scale):
    """The flights of `scale` years, from a heap in the same database. Returns milliseconds per side."""
    sides.use("heap")
    sides.run("CREATE SCHEMA source")
    sides.run("SET search_path = source")
    sides.create_tables()
    for table in TABLES:
        sides.copy(table, directory)
    # Depending on n, the inner side is read once per year: the rows arrive in the order of time.
    names = ", ".join(data.FLIGHT_COLUMNS[1:-1])
    flights = (
        f"INSERT INTO flights SELECT year + n, {names}, time_hour + n * interval '1 year'"
        f" FROM generate_series(0, {scale - 1}) AS n, LATERAL (SELECT * FROM source.flights OFFSET 0 * n) AS f"
    )
    taken = []
    for side in SCHEMAS:
        sides.use(side)
        sides.create_tables()
        taken.append(sides.run(flights)[1] * 1000)
        sides.run("INSERT INTO weather SELECT * FROM source.weather")
        sides.run("CREATE INDEX ON flights (time_hour, flight, carrier)")
    return taken


def lookups(sides):
    """Point queries through the index; milliseconds for all of them per side."""
    rng = random.Random(1)
    taken = []
    keys = sides.run("SELECT time_hour, flight, carrier FROM source.flights ORDER BY time_hour, flight, carrier")[0]
    chosen = rng.sample(keys, LOOKUPS)
    for side in SCHEMAS:
        sides.use(side)
        start = time.perf_counter()
        with sides.connection.cursor() as cursor:
            for key in chosen:
                cursor.execute("SELECT * FROM flights WHERE (time_hour, flight, carrier) = (%s, %s, %s)", key)
                if not cursor.fetchall():
                    sys.exit(f"{side}: no flight {key}")
        taken.append((time.perf_counter() - start) * 1000)
    return taken


def single_inserts(sides):
    """Transactions of one row each; milliseconds for all of them per side."""
    taken = []
    for side in SCHEMAS:
        sides.use(side)
        start = time.perf_counter()
        for n in range(INSERTS):
            sides.run(f"INSERT INTO flights SELECT * FROM source.flights LIMIT 1 OFFSET {n}")
        taken.append((time.perf_counter() - start) * 1000)
    return taken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True, help="directory of the server's socket")
    parser.add_argument("--data", required=True, type=Path, help="directory for the CSV files")
    parser.add_argument("--scale", type=int, default=10, help="years of flights, 336,776 rows each")
    arguments = parser.parse_args()
    print(data.prepare(arguments.data))
    sides = Sides(arguments.socket, "bench")
    title(f"Loading {arguments.scale * data.FLIGHTS} rows")
    rows = [("load", *load(sides, arguments.data, arguments.scale))]
    title("Compacting")
    sides.compact()
    size = sides.megabytes("pg_table_size", "flights")
    title("Measuring")
    for name, sql in [*statements(HERE / "queries.sql"), *MORE_QUERIES]:
        rows.append((name, *sides.best_of(3, sql)))
    rows.append((f"{LOOKUPS} index lookups", *lookups(sides)))
    rows.append((f"{INSERTS} inserts of one row", *single_inserts(sides)))
    for name, sql in statements(HERE / "changes.sql"):
        if "ON CONFLICT" not in sql:
            rows.append((name, *(seconds * 1000 for seconds in sides.on_both(sql)[1:])))
    show(
        ["", "heap", METHOD, f"heap:{METHOD}"],
        [
            ["size, MB", f"{size[0]:.1f}", f"{size[1]:.1f}", f"{size[0] / size[1]:.2f}"],
            *[[name + ", ms", f"{h:.1f}", f"{c:.1f}", f"{h / c:.2f}"] for name, h, c in rows],
        ],
    )


if __name__ == "__main__":
    main()
