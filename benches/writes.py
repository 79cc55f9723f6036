"""Single-row writes and point reads on a columnar table beside a heap, fsync on and the mover running.

    make write-speed SIZE=full

Both tables live in one server and take turns of a few seconds, so that whatever else the machine does
hits both alike; only the ratios mean something. pgbench, 4 clients, prepared statements, one row per
transaction. Rows that are read, updated and deleted by primary key have been moved into stripes before.
COPY loads lineitem of TPC-H, made by tpchgen-cli when it can be had, else random rows of its shape.
Exits with 1 if a ratio misses its bar (at the small size, by more than its margin).
"""

import argparse
import random
import re
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tpch  # noqa: E402
from harness import scratch, settings  # noqa: E402

CLIENTS = 4
SIDES = ("heap", "columnar")
CONFIG = {
    "fsync": "on",
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "10min",
    "autovacuum": "on",
    "jit": "off",
    "unix_socket_directories": "",
}
#: At the small size noise may cost this much of a bar.
MARGIN = 0.7
SCRIPTS = {
    "select": "\\set id random(1, {rows})\nSELECT * FROM {side} WHERE id = :id;\n",
    "insert": "INSERT INTO {side} VALUES (nextval('{side}_next'), 7, 'payload of an inserted row', now());\n",
    "update": "\\set id random({rows} / 2, {rows})\nUPDATE {side} SET amount = amount + 1, changed = now() WHERE id = :id;\n",
    "delete": "\\set n :n + 1\n\\set id :base + :n * {clients} + :client_id\nDELETE FROM {side} WHERE id = :id;\n",
}
WORDS = ("carefully final deposits detect slyly agai furiously express requests haggle blithely pending packages "
         "according to the ironic accounts sleep quickly even theodolites nag").split()


def create(server, rows):
    """Both tables, filled and moved."""
    for side in SIDES:
        server.query(f"CREATE TABLE {side} (id bigint PRIMARY KEY, amount integer, note text, changed timestamptz) USING {side}")
        server.query(f"INSERT INTO {side} SELECT i, i % 1000, 'note ' || md5(i::text), now() FROM generate_series(1, {rows}) i")
        server.query(f"CREATE SEQUENCE {side}_next START {rows + 1} CACHE 1000")
        if side == "columnar":
            server.query("CALL orochi.columnar_compact('columnar')")
        server.query(f"VACUUM ANALYZE {side}")
    server.query("CHECKPOINT")


def pgbench(server, directory, operation, side, rows, seconds, base):
    """Runs one script on one side; transactions per second and the mean latency in ms. Deletions begin at row `base`."""
    script = directory / f"{operation}_{side}.sql"
    script.write_text(SCRIPTS[operation].format(side=side, rows=rows, clients=CLIENTS))
    script.chmod(0o644)
    text = server.run("pgbench", "-n", "-M", "prepared", "-c", CLIENTS, "-j", 2, "-T", seconds, "-f", script, "-D", f"base={base}",
                      "-D", "n=0", "-h", "127.0.0.1", "-p", server.port, "-U", "postgres", "postgres").stdout
    rate = float(re.search(r"tps = ([\d.]+)", text).group(1))
    failed = re.search(r"number of failed transactions: (\d+)", text)
    if failed and int(failed.group(1)):
        sys.exit(f"{operation} on {side}: {failed.group(0)}")
    return rate, float(re.search(r"latency average = ([\d.]+)", text).group(1))


def turns(server, directory, operation, rows, seconds, turn):
    """Alternates between the sides for `seconds` each; rates and latencies per side."""
    rates = {side: [] for side in SIDES}
    latencies = {side: [] for side in SIDES}
    count = max(1, seconds // turn)
    for number in range(count):
        base = rows // count * number
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            rate, latency = pgbench(server, directory, operation, side, rows, turn, base)
            if operation == "delete" and rate * turn > rows // count:
                sys.exit(f"{side}: {rows} rows are not enough to delete for {seconds} seconds")
            rates[side].append(rate)
            latencies[side].append(latency)
    return ({side: statistics.mean(rates[side]) for side in SIDES}, {side: statistics.mean(latencies[side]) for side in SIDES})


def lineitem(path, rows):
    """Writes about `rows` rows of lineitem as CSV with a header, and says where they come from."""
    if tpch.write("lineitem", rows / 6_000_000, path):
        return "TPC-H"
    rng = random.Random(1)
    with open(path, "w", encoding="utf-8") as file:
        file.write("generated\n")
        for n in range(rows):
            quantity, day = rng.randrange(1, 51), rng.randrange(2400)
            date = [time.strftime("%Y-%m-%d", time.gmtime((8035 + day + rng.randrange(1, 90)) * 86400)) for _ in range(3)]
            comment = " ".join(rng.choices(WORDS, k=5))[:rng.randrange(10, 44)].strip()
            file.write(
                f"{n // 4 * 8 + 1},{rng.randrange(1, 200_000)},{rng.randrange(1, 10_000)},{n % 4 + 1},{quantity},"
                f"{quantity * rng.randrange(90_000, 200_000) / 100:.2f},{rng.randrange(11) / 100:.2f},{rng.randrange(9) / 100:.2f},"
                f"{rng.choice('ANR')},{rng.choice('OF')},{date[0]},{date[1]},{date[2]},"
                f"{rng.choice(('DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'))},"
                f"{rng.choice(('AIR', 'REG AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB'))},{comment}\n")
    return "rows of the shape of TPC-H"


def copy(server, directory, rows, rounds):
    """Best time of COPY per side; every row count is checked."""
    path = directory / "lineitem.csv"
    source = lineitem(path, rows)
    path.chmod(0o644)
    best = {}
    for number in range(rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            server.query(tpch.TABLES["lineitem"].format(side))
            start = time.perf_counter()
            server.query(f"COPY lineitem FROM '{path}' (FORMAT csv, HEADER)")
            best[side] = min(best.get(side, 1e9), time.perf_counter() - start)
            count = int(server.scalar("SELECT count(*) FROM lineitem"))
            if count < rows * 0.9:
                sys.exit(f"{side}: {count} rows of {rows}")
            server.query("DROP TABLE lineitem")
            server.query("CHECKPOINT")
    print(f"COPY: {source}, {path.stat().st_size / 1e6:.0f} MB, best of {rounds}: "
          + ", ".join(f"{side} {best[side]:.2f} s" for side in SIDES))
    return best


def measure(server, directory, arguments):
    """Prints every ratio and returns whether all bars are met."""
    met = True

    def bar(name, ratio, least=None, most=None):
        nonlocal met
        margin = 1.0 if settings.SIZE == "full" else MARGIN
        good = ratio >= least * margin if least else ratio <= most / margin
        met &= good
        print(f"{name:32} {ratio:6.2f}   bar: {f'at least {least}' if least else f'at most {most}'}{'' if good else '   MISSED'}", flush=True)

    only = set(arguments.only.split(",")) if arguments.only else None
    if not only or only & set(SCRIPTS):
        create(server, arguments.rows)
    for operation in SCRIPTS:
        if only and operation not in only:
            continue
        rates, latencies = turns(server, directory, operation, arguments.rows, arguments.seconds, arguments.turn)
        print(f"{operation}: " + ", ".join(f"{side} {rates[side]:.0f}/s ({latencies[side]:.3f} ms)" for side in SIDES))
        if operation == "select":
            bar("select latency, columnar:heap", latencies["columnar"] / latencies["heap"], most=10)
        else:
            bar(f"{operation} rate, columnar:heap", rates["columnar"] / rates["heap"], least=0.5 if operation == "update" else 0.7)
    if not only or "copy" in only:
        best = copy(server, directory, arguments.copy_rows, arguments.rounds)
        bar("COPY time, columnar:heap", best["columnar"] / best["heap"], most=1.5)
    return met


def main():
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=settings.size(200_000, 6_000_000))
    parser.add_argument("--copy-rows", type=int, default=settings.size(300_000, 6_000_000))
    parser.add_argument("--seconds", type=int, default=settings.size(8, 300), help="per operation and side")
    parser.add_argument("--turn", type=int, default=settings.size(4, 30), help="seconds at a stretch")
    parser.add_argument("--rounds", type=int, default=2, help="COPY, per side")
    parser.add_argument("--only", help="comma-separated: select, insert, update, delete, copy")
    arguments = parser.parse_args()
    with scratch.server_and_directory("writes", CONFIG) as (server, directory):
        if not measure(server, directory, arguments):
            sys.exit(1)


if __name__ == "__main__":
    main()
