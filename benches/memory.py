"""Memory of one backend that loads, reads and compacts columnar tables whose rows are wide, large or scattered.

    make memory SIZE=full

Four cases, each by COPY from a file, into a heap and then into a columnar table:

- wide: 1,000 columns of five types, enough rows for several stripes;
- large: rows of 100 MB (10 MB at the small size) that do not compress, a text and a bytea column. So few rows
  stay in the row store;
- large, striped: the same with orochi.row_store_rows = 0, so that they go through the write buffer;
- scattered: rows that go round 200 partitions.

Each statement has a backend of its own: the COPY, a SELECT that reads every column, and for columnar tables
orochi.columnar_compact() and the SELECT again. The rows are compared with the heap's by count and hashes of every
column. No other process works for the statement: there are no parallel workers, JIT is off, and so is the mover.

What is measured is the backend's anonymous memory, which has no shared buffers in it, in MB of 2^20 bytes: the
greatest RssAnon in /proc/PID/status, sampled every 10 ms, or, should a peak have been shorter than that, VmHWM (the
kernel's own maximum of all resident memory) less the greatest RssShmem and RssFile. VmHWM is printed beside it as
the bound from above. PostgreSQL's own share is in the figures; the heap's show how much that is.

Bar: at most 1024 MB for each statement on a columnar table. Exits with 1 if one misses it. How many rows a COPY
wrote into stripes is printed as well, for rows that it leaves to the row store take next to no memory.
"""

import argparse
import base64
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from harness import process, scratch, settings  # noqa: E402

#: MB.
BAR = 1024
#: Seconds between two looks at a backend.
INTERVAL = 0.01
CONFIG = {
    "shared_buffers": "128MB",
    "max_wal_size": "8GB",
    "autovacuum": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "orochi.mover_enabled": "off",
}
SIDES = ("heap", "columnar")
COLUMNS = 1_000
PARTITIONS = 200
#: Type and hash of the columns of a wide table, in an order that keeps a heap's rows below the size of a page.
GROUP = (("float8", "hashfloat8({})"), ("timestamptz", "timestamp_hash({}::timestamp)"), ("int", "hashint4({})"),
         ("text", "hashtext({})"), ("numeric", "hash_numeric({})"))


class Watch:
    """The peak of a process's memory for as long as the block lasts, in MB."""

    def __init__(self, pid):
        self._status = Path(f"/proc/{pid}/status")
        self._done = threading.Event()
        self._peaks = {"RssAnon": 0, "RssShmem": 0, "RssFile": 0, "VmHWM": 0}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while True:
            last = self._done.wait(INTERVAL)
            for line in self._status.read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self._peaks:
                    self._peaks[name] = max(self._peaks[name], int(value.split()[0]))
            if last:
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    @property
    def anonymous(self):
        """Memory that is neither shared nor a file's."""
        peaks = self._peaks
        return max(peaks["RssAnon"], peaks["VmHWM"] - peaks["RssShmem"] - peaks["RssFile"]) / 1024

    @property
    def resident(self):
        """All that was resident at once."""
        return self._peaks["VmHWM"] / 1024


class Case:
    """A table, the file that is loaded into it, and the expressions that tell whether it was."""

    def __init__(self, name, columns, rows, hashes, session=(), partitions=0):
        self.name, self.rows, self.partitions = name, rows, partitions
        self.session = session
        self._columns, self._hashes = columns, hashes

    def create(self, server, side):
        """Creates the table, whose partitions take the values of `part`."""
        if not self.partitions:
            server.query(f"CREATE TABLE t ({self._columns}) USING {side}")
            return
        server.query(f"CREATE TABLE t ({self._columns}) PARTITION BY LIST (part)")
        for part in range(self.partitions):
            server.query(f"CREATE TABLE t_{part} PARTITION OF t FOR VALUES IN ({part}) USING {side}")

    def check(self):
        """A query that reads every column of every row."""
        return "SELECT count(*), " + ", ".join(f"sum({text})" for text in self._hashes) + " FROM t"

    def compact(self):
        """Statements that compact the table."""
        names = [f"t_{part}" for part in range(self.partitions)] or ["t"]
        return [f"CALL orochi.columnar_compact('{name}')" for name in names]


def wide(rows):
    """The case of many columns."""
    types = [GROUP[number % len(GROUP)] for number in range(COLUMNS)]
    columns = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(types))
    return Case("wide", columns, rows, [text.format(f"c{number}") for number, (_, text) in enumerate(types)])


def write_wide(path, rows):
    """Writes the rows of `wide`: each takes a stretch of five columns at random out of many, which few vectors repeat."""
    rng = random.Random(1)
    stretches = ["\t".join((repr(rng.gauss(0, 1e6)), f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02} "
                            f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.random() * 59:09.6f}+00",
                            str(rng.randrange(-2**31, 2**31)), f"{rng.randrange(16**4):04x}", f"{rng.random() * 1000:.2f}"))
                 for _ in range(20_000)]
    with open(path, "w", encoding="ascii") as file:
        for _ in range(rows):
            file.write("\t".join(rng.choices(stretches, k=COLUMNS // len(GROUP))) + "\n")


def large(rows, name="large", session=()):
    """The case of large rows."""
    return Case(name, "id int, body text, data bytea", rows, ["id", "hashtext(body)", "hashtext(md5(data))"], session)


def write_large(path, rows, size):
    """Writes the rows of `large`, three fifths of `size` bytes text and two fifths bytea."""
    rng = random.Random(2)
    with open(path, "wb") as file:
        for number in range(rows):
            file.write(b"%d\t" % number)
            file.write(base64.b64encode(rng.randbytes(size * 9 // 20)))
            file.write(b"\t\\\\x" + rng.randbytes(size * 2 // 5).hex().encode() + b"\n")


def scattered(rows):
    """The case of many partitions."""
    return Case("scattered", "part int, id bigint, amount numeric, note text, at timestamptz", rows,
                ["part", "id", "hash_numeric(amount)", "hashtext(note)", "timestamp_hash(at::timestamp)"], partitions=PARTITIONS)


def write_scattered(path, rows):
    """Writes the rows of `scattered`, one after the other into the next partition."""
    rng = random.Random(3)
    with open(path, "w", encoding="ascii") as file:
        for number in range(rows):
            file.write(f"{number % PARTITIONS}\t{number}\t{rng.random() * 1e6:.4f}\tnote {rng.getrandbits(160):040x}\t"
                       f"2026-03-{number % 28 + 1:02} 12:{number % 60:02}:{number % 59:02}+00\n")


def run(server, case, label, statements):
    """Executes statements on a backend of their own and prints what it took; rows of the last one, and the peak."""
    connection = server.connect(options={"timezone": "UTC"})
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = int(cursor.fetchone()[0])
            for sql in case.session:
                cursor.execute(sql)
            start = time.perf_counter()
            with Watch(pid) as watch:
                for sql in statements:
                    cursor.execute(sql)
            seconds = time.perf_counter() - start
            rows = cursor.fetchall() if cursor.description else None
    finally:
        connection.close()
    missed = not label.startswith("heap") and watch.anonymous > BAR
    print(f"{case.name:15} {label:26} {watch.anonymous:7.0f} {watch.resident:7.0f} {seconds:9.1f}{'   MISSED' if missed else ''}", flush=True)
    return rows, not missed


def striped(server):
    """Rows that statements have written into stripes so far, in all tables."""
    return int(float(server.scalar("SELECT value FROM orochi.metrics() WHERE name = 'rows_inserted_stripe_total'")))


def verify(case, found, expected):
    """A load that lost rows would take little memory."""
    if int(found[0][0]) != case.rows or (expected and found != expected):
        sys.exit(f"{case.name}: the rows read back differ: {found[0][:5]} of {(expected or [[case.rows]])[0][:5]}")


def measure(server, case, path):
    """Every statement of one case on both sides; whether the bar is met."""
    met, expected = True, None
    for side in SIDES:
        case.create(server, side)
        steps = [("COPY", [f"COPY t FROM '{path}'"]), ("SELECT", [case.check()])]
        if side == "columnar":
            steps += [("compact", case.compact()), ("SELECT, compacted", [case.check()])]
        before = striped(server)
        for name, statements in steps:
            rows, good = run(server, case, f"{side} {name}", statements)
            met &= good
            if side == "columnar" and name == "COPY":
                print(f"{'':15} ({striped(server) - before} of {case.rows} rows written into stripes)", flush=True)
            if name.startswith("SELECT"):
                verify(case, rows, expected)
                expected = rows
        server.query("DROP TABLE t")
        server.query("CHECKPOINT")
    return met


def main():
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wide-rows", type=int, default=settings.size(20_000, 200_000))
    parser.add_argument("--large-rows", type=int, default=settings.size(4, 8))
    parser.add_argument("--large-mb", type=int, default=settings.size(10, 100), help="millions of bytes of a large row")
    parser.add_argument("--scattered-rows", type=int, default=settings.size(400_000, 6_000_000))
    parser.add_argument("--only", help="comma-separated: wide, large, scattered")
    arguments = parser.parse_args()
    cases = {
        "wide": (lambda path: write_wide(path, arguments.wide_rows), [wide(arguments.wide_rows)]),
        "large": (lambda path: write_large(path, arguments.large_rows, arguments.large_mb * 1_000_000),
                  [large(arguments.large_rows), large(arguments.large_rows, "large, striped", ("SET orochi.row_store_rows = 0",))]),
        "scattered": (lambda path: write_scattered(path, arguments.scattered_rows), [scattered(arguments.scattered_rows)]),
    }
    only = arguments.only.split(",") if arguments.only else list(cases)
    met = True
    with scratch.server_and_directory("memory", CONFIG) as (server, root):
        print(f"{'case':15} {'statement':26} {'MB':>7} {'VmHWM':>7} {'seconds':>9}   bar for columnar: at most {BAR} MB", flush=True)
        for name in only:
            write, of_file = cases[name]
            path = root / f"{name}.copy"
            write(path)
            path.chmod(0o644)
            for case in of_file:
                met &= measure(server, case, path)
            path.unlink()
    if not met:
        sys.exit(1)


if __name__ == "__main__":
    main()
