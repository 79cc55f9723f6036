"""Instructions that OLTP statements on heap tables cost with Orochi preloaded, against plain PostgreSQL.

    make overhead SIZE=full

Statements of pgbench's kind run in `postgres --single` under `valgrind --tool=callgrind`, which counts every
instruction of the process, so that the figures repeat to a few parts in ten thousand whatever else the machine
does. Each script runs N and 3N times on fresh copies of one cluster; half the difference, divided by N, is what
one repetition costs without the start of the server. Once the library is not preloaded, once it is and the
database has the extension. The planner's, executor's and utility hooks run in a single-user backend as in any
other; the workers and the network do not.

Bar: at most 1.01 for a transaction of pgbench's kind. The other scripts are printed for comparison. With
--functions, or when the bar is missed, the functions of orochi.so that were called are listed, with what they cost
per repetition including everything they call. Exits with 1 if the bar is missed.
"""

import argparse
import concurrent.futures
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from harness import process, scratch, settings  # noqa: E402
from harness.server import Server  # noqa: E402

BAR = 1.01
ACCOUNTS = 10_000
TELLERS = 10
CONFIG = {
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "jit": "off",
    "fsync": "off",
    # A page's first change after a checkpoint would cost more than the statement.
    "full_page_writes": "off",
    "max_wal_size": "8GB",
}
TABLES = f"""
    CREATE TABLE tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)) WITH (fillfactor = 50);
    CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)) WITH (fillfactor = 50);
    CREATE TABLE history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
    INSERT INTO tellers SELECT i, 1, 0, '' FROM generate_series(1, {TELLERS}) i;
    INSERT INTO accounts SELECT i, 1, 0, '' FROM generate_series(1, {ACCOUNTS}) i;
    VACUUM FREEZE ANALYZE tellers; VACUUM FREEZE ANALYZE accounts; VACUUM FREEZE ANALYZE history;
"""
SELECT = "SELECT abalance FROM accounts WHERE aid = {aid}"
UPDATE = "UPDATE accounts SET abalance = abalance + {delta} WHERE aid = {aid}"
INSERT = "INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ({tid}, 1, {aid}, {delta}, CURRENT_TIMESTAMP)"
TELLER = "UPDATE tellers SET tbalance = tbalance + {delta} WHERE tid = {tid}"
PREPARE = "PREPARE point (int) AS SELECT abalance FROM accounts WHERE aid = $1"
#: What runs once, and the lines of one repetition. A single-user backend takes a line for a query.
SCRIPTS = {
    "transaction": ([], ["BEGIN", UPDATE, SELECT, TELLER, INSERT, "END"]),
    "select": ([], [SELECT]),
    "select, prepared": ([PREPARE, "SET plan_cache_mode = force_generic_plan"], ["EXECUTE point({aid})"]),
    "update": ([], [UPDATE]),
    "insert": ([], [INSERT]),
}
SIDES = ("plain", "orochi")


def clusters(installation, root):
    """Data directories of the two sides: the second is a copy of the first, with the extension."""
    server = Server(installation, config=CONFIG, preload="", name="overhead").init()
    try:
        server.start()
        server.psql(TABLES)
        server.stop()
        shutil.copytree(server.data, root / "plain")
        server.configure({"shared_preload_libraries": "orochi"})
        server.start()
        server.psql("CREATE EXTENSION orochi")
        server.stop()
        shutil.copytree(server.data, root / "orochi")
    finally:
        server.destroy()


def queries(script, repetitions):
    """The lines of a script; a figure depends on nothing but its place."""
    rng = random.Random(1)
    once, lines = SCRIPTS[script]
    text = list(once)
    for _ in range(repetitions):
        values = {"aid": rng.randrange(1, ACCOUNTS + 1), "tid": rng.randrange(1, TELLERS + 1), "delta": rng.randrange(-5000, 5000)}
        text += [line.format(**values) for line in lines]
    return "\n".join(text) + "\n"


class Run:
    """One single-user backend under callgrind, in a copy of a cluster that goes with it."""

    def __init__(self, installation, root, side, script, repetitions):
        name = re.sub(r"\W+", "_", f"{side}_{script}_{repetitions}")
        self.profile = root / f"{name}.callgrind"
        self._installation, self._script, self._repetitions = installation, script, repetitions
        self._cluster, self._data = root / side, root / f"{name}.data"

    def count(self):
        """Instructions that the process executed."""
        # Ownership and permissions have to stay the server's.
        subprocess.run(["cp", "-a", self._cluster, self._data], check=True)
        subprocess.run(["chown", "-R", "--reference", self._cluster.parent, self._data], check=True)
        try:
            done = process.run(
                ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.profile}",
                 self._installation.bindir / "postgres", "--single", "-D", self._data, "postgres"],
                self._cluster.parent, stdin=queries(self._script, self._repetitions), timeout=3600)
        finally:
            shutil.rmtree(self._data, ignore_errors=True)
        bad = re.search(r"^.*(?:ERROR|FATAL|PANIC): .*$", done.stderr, re.M)
        collected = re.search(r"Collected : (\d+)", done.stderr)
        if bad or not collected:
            raise RuntimeError(f"{self._script}: {bad.group(0) if bad else done.stderr[-2000:]}")
        return int(collected.group(1))

    def functions(self):
        """Instructions of each function of orochi.so, with all that it calls."""
        text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", self.profile], check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        costs = {}
        for line in text.splitlines():
            match = re.match(r"\s*([\d,]+) (?:\([^)]*\))?\s+(\S*?):(.+) \[.*/orochi\.so\]$", line)
            if match:
                costs[match.group(3)] = costs.get(match.group(3), 0) + int(match.group(1).replace(",", ""))
        return costs


def list_functions(runs, script, times):
    """Prints what the functions of orochi.so cost per repetition."""
    few, many = (runs["orochi", script, count].functions() for count in times)
    costs = {name: (cost - few.get(name, 0)) / (times[1] - times[0]) for name, cost in many.items()}
    print(f"\nFunctions of orochi.so in one repetition of {script!r}, with what they call:")
    for name, cost in sorted(costs.items(), key=lambda item: -item[1])[:25]:
        if cost >= 1:
            print(f"{cost:12.1f}  {name}")


def measure(installation, root, arguments):
    """Prints the ratio of every script and returns whether the bar is met."""
    times = (arguments.repetitions, 3 * arguments.repetitions)
    scripts = [name for name in SCRIPTS if not arguments.only or name in arguments.only]
    runs = {(side, script, count): Run(installation, root, side, script, count)
            for script in scripts for count in times for side in SIDES}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        counts = dict(zip(runs, pool.map(Run.count, runs.values())))
    print(f"Instructions per repetition, from {times[0]} and {times[1]} of them:")
    print(f"{'':20}{'plain':>12}{'orochi':>12}{'ratio':>9}")
    met = True
    for script in scripts:
        cost = {side: (counts[side, script, times[1]] - counts[side, script, times[0]]) / (times[1] - times[0]) for side in SIDES}
        ratio = cost["orochi"] / cost["plain"]
        verdict = ""
        if script == "transaction":
            met = ratio <= BAR
            verdict = f"   bar: at most {BAR}{'' if met else '   MISSED'}"
        print(f"{script:20}{cost['plain']:12.0f}{cost['orochi']:12.0f}{ratio:9.4f}{verdict}")
    for script in scripts:
        if arguments.functions or (script == "transaction" and not met):
            list_functions(runs, script, times)
    return met


def main():
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=settings.size(300, 2000), metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once; they do not change the figures")
    parser.add_argument("--only", action="append", choices=SCRIPTS, help="a script; can be repeated")
    parser.add_argument("--functions", action="store_true", help="list the functions of orochi.so that were called")
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing")
    with scratch.directory("overhead") as root:
        installation = scratch.installation()
        clusters(installation, root)
        if not measure(installation, root, arguments):
            sys.exit(1)


if __name__ == "__main__":
    main()
