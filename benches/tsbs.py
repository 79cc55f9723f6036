"""Data shaped like that of the Time Series Benchmark Suite: hosts that report metrics every ten seconds."""

import random
from datetime import datetime, timezone
from pathlib import Path

from place import DATA

HOSTS = 400
METRICS = [f"usage_{name}" for name in ("user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")]
#: `{}` takes name and access method.
TABLE = "CREATE TABLE {} (time timestamptz NOT NULL, host text NOT NULL, " + ", ".join(f"{name} float8" for name in METRICS) + ") USING {}"
FIRST = 1_704_067_200


def write(rows, path):
    """Writes `rows` rows as CSV without a header, in the order of time: each metric is a walk between 0 and 100 with two decimals."""
    path = Path(path)
    if path.exists():
        return
    rng = random.Random(1)
    uniform = rng.random
    hosts = [[f"host_{host}", [uniform() * 100 for _ in METRICS]] for host in range(HOSTS)]
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="ascii") as file:
        for step in range(rows // HOSTS):
            stamp = timestamp(FIRST + step * 10)
            lines = []
            for name, values in hosts:
                for i, value in enumerate(values):
                    moved = value + uniform() * 2 - 1
                    values[i] = 0.0 if moved < 0 else 100.0 if moved > 100 else moved
                lines.append(f"{stamp},{name}," + ",".join(["%.2f" % value for value in values]) + "\n")
            file.writelines(lines)
    partial.chmod(0o644)
    partial.rename(path)


def timestamp(seconds):
    """Seconds since 1970 as a timestamp in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S+00")


def file(rows):
    """Path of the file with so many rows, written if need be."""
    DATA.mkdir(parents=True, exist_ok=True)
    path = DATA / f"tsbs-{rows}.csv"
    write(rows, path)
    return path


def load(server, schema, method, rows):
    """The table cpu in a schema that is there, with an index, analyzed; a columnar one segmented, in order and compacted."""
    server.query(TABLE.format(f"{schema}.cpu", method))
    if method == "columnar":
        server.query(f"SELECT orochi.columnar_set_options('{schema}.cpu', segment_by => 'host', order_by => 'time')")
    server.query(f"COPY {schema}.cpu FROM '{file(rows)}' (FORMAT csv)")
    if method == "columnar":
        server.query(f"CALL orochi.columnar_compact('{schema}.cpu')")
    server.query(f"CREATE INDEX ON {schema}.cpu (host, time DESC)")
    server.query(f"VACUUM ANALYZE {schema}.cpu")


def for_duckdb(rows):
    """Statements that make and fill the table in DuckDB, whose timestamps without time zone are in UTC and as large, but truncated faster."""
    create = TABLE.format("cpu", "").replace(" USING ", "").replace("timestamptz", "timestamp")
    return [create, f"COPY cpu FROM '{file(rows)}' (FORMAT csv, HEADER false)"]
