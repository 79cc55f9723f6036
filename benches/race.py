"""Runs queries on several sides in turns, compares their results, prints a table and writes all figures to .build/bench."""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import results  # noqa: E402
from harness import settings  # noqa: E402
from racers import PARALLEL, SERIAL, Failed, Postgres, TimedOut  # noqa: E402

FIGURES = Path(__file__).parents[1] / ".build" / "bench"
FULL = settings.SIZE == "full"
CONFIG = {"shared_buffers": "4GB", "max_wal_size": "16GB", "fsync": "off", "autovacuum": "off", "orochi.mover_enabled": "off", "jit": "off",
          "work_mem": "256MB", "maintenance_work_mem": "512MB", "unix_socket_directories": ""}


@dataclass(frozen=True)
class Query:
    """A query: what --queries calls it, its title, its text, and its text for DuckDB where that is another one."""

    name: str
    title: str
    sql: str
    #: Whether its ORDER BY says where every row goes.
    ordered: bool = False
    duck: str = None
    #: For bars that hold for some of the queries only.
    kind: str = ""


def arguments(description, **more):
    """Parsed arguments, those of every race and `more` with their defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", help="comma-separated: only these")
    parser.add_argument("--rounds", type=int, default=settings.size(1, 3), help="runs of each query on each side behind the first")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that a query may take")
    parser.add_argument("--explain", type=Path, metavar="DIR", help="write the plan of each query on columnar tables into files there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show our times beside those of these figures")
    for name, default in more.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def postgres_sides(server):
    """A heap, which may use workers as by default, and columnar tables without and with workers, in schemas of these names."""
    return [Postgres("heap", server, "heap", PARALLEL), Postgres("columnar", server, "columnar", SERIAL, ours=True),
            Postgres("columnar, 2 workers", server, "columnar", PARALLEL, ours=True)]


def ratio(ours, other):
    """Quotient of times, where infinity is a time that nobody has waited for."""
    return math.inf if math.isinf(ours) else 0.0 if math.isinf(other) else ours / other


def geometric_mean(values):
    """Of positive numbers; None is left out."""
    values = [value for value in values if value is not None]
    return math.exp(sum(math.log(max(value, 1e-9)) for value in values) / len(values)) if values else math.nan


class Race:
    """The times of queries by side: `math.inf` if a side took too long or failed."""

    def __init__(self, name, queries, sides, options):
        chosen = options.queries.split(",") if options.queries else None
        unknown = set(chosen or ()) - {query.name for query in queries}
        if unknown:
            sys.exit(f"there are no queries {', '.join(sorted(unknown))}")
        self.name, self.sides, self.options = name, sides, options
        self.queries = [query for query in queries if not chosen or query.name in chosen]
        self.times, self.rows, self.failed, self.problems, self.missed = {}, {}, set(), [], []
        self.before = json.loads(options.against.read_text(encoding="utf-8"))["queries"] if options.against else {}

    def best(self, query, *sides):
        """Best time of the sides with these names, None if there is none."""
        times = self.times[query.name]
        return min((min(times[side]) for side in sides if times.get(side)), default=None)

    def ours(self, query):
        """Best time of the sides that bars are about."""
        return self.best(query, *[side.name for side in self.sides if side.ours])

    def run(self):
        """All queries; prints a line for each as it is done."""
        if self.options.explain:
            self._explain()
        width = max(len(query.title) for query in self.queries)
        duck = any(side.name == "DuckDB 2" for side in self.sides)
        others = ["DuckDB 2", "heap"] if duck else ["heap"]
        heads = [*(side.name for side in self.sides), *(f"ours:{other}" for other in others), *(["ours now:then"] if self.before else [])]
        print(f"Best of {self.options.rounds} runs, in ms\n{'':{width}} " + " ".join(f"{head:>{max(9, len(head))}}" for head in heads))
        for query in self.queries:
            self._query(query)
            cells = [self._cell(query, side.name) for side in self.sides]
            cells += ["" if (value := self.against(query, other)) is None else f"{value:.2f}" for other in others]
            if self.before:
                then = self.before.get(query.name, {}).get("ours")
                cells.append(f"{ratio(self.ours(query), then):.2f}" if then else "")
            print(f"{query.title:{width}} " + " ".join(f"{cell:>{max(9, len(head))}}" for cell, head in zip(cells, heads)), flush=True)
        self.problems += [f"{query.title}: no side of ours came to an end" for query in self.queries if math.isinf(self.ours(query))]
        for problem in self.problems:
            print(problem)
        late = any(math.inf in times for some in self.times.values() for times in some.values())
        print(f"{len(self.problems)} problems, above" if self.problems
              else f"every result{' that came in time' if late else ''} is equal on every side")

    def against(self, query, side):
        """Our best time by that of a side; None if there is no such side, or the query has failed there."""
        other = self.best(query, side)
        return None if other is None or (query.name, side) in self.failed else ratio(self.ours(query), other)

    def _cell(self, query, side):
        """What the table says of a query on a side."""
        seconds = self.best(query, side)
        return ("" if seconds is None else "failed" if (query.name, side) in self.failed
                else f"> {self.options.timeout:g} s" if math.isinf(seconds) else f"{seconds * 1000:.1f}")

    def _query(self, query):
        """Runs one query on all sides in turns and compares every result with the first side's that has one."""
        times = self.times[query.name] = {side.name: [] for side in self.sides}
        seen, reference = {}, None
        for number in range(self.options.rounds + 1):
            for side in self.sides if number % 2 == 0 else self.sides[::-1]:
                if number > 0 and (side.once or math.inf in times[side.name]):
                    continue
                try:
                    seconds, result = side.run(query, self.options.timeout)
                except TimedOut:
                    times[side.name] = [math.inf]
                    continue
                except Failed as error:
                    times[side.name] = [math.inf]
                    self.failed.add((query.name, side.name))
                    self.problems.append(f"{query.title}, {side.name}: {error}")
                    continue
                if number > 0 or side.once:
                    times[side.name].append(seconds)
                if side.name in seen and result.rows == seen[side.name].rows:
                    continue
                self.rows.setdefault(query.name, len(result.rows))
                expected = seen.get(side.name) if side.alone else reference
                seen[side.name] = result
                if expected is None:
                    reference = reference if side.alone else result
                    continue
                different = results.difference(expected, result, query.ordered)
                if different:
                    self.problems.append(f"{query.title}, {side.name}: {different}")

    def _explain(self):
        self.options.explain.mkdir(parents=True, exist_ok=True)
        for query in self.queries:
            for side in self.sides:
                if side.ours:
                    path = self.options.explain / f"{self.name}-{query.name}-{side.name.replace(', ', '-').replace(' ', '-')}.txt"
                    path.write_text(f"{query.sql}\n\n{side.explain(query)}", encoding="utf-8")

    def bar(self, what, value, most):
        """Prints a figure and, at full size, notes whether it is above its bar."""
        missed = FULL and not value <= most
        print(f"{what}: {value:.2f}" + (f"   bar: at most {most}{'   MISSED' if missed else ''}" if FULL else ""))
        if missed:
            self.missed.append(what)

    def bar_each(self, what, figures, most):
        """The same for a figure of each query, as pairs of query and value; names the queries that are above."""
        figures = [(query, value) for query, value in figures if value is not None]
        worst = max(figures, key=lambda figure: figure[1], default=None)
        above = [query.title for query, value in figures if not value <= most]
        if worst is None:
            return
        missed = FULL and bool(above)
        print(f"{what}, worst: {worst[1]:.2f} ({worst[0].title})"
              + (f"   bar: at most {most}{'   MISSED by ' + ', '.join(above) if missed else ''}" if FULL else ""))
        if missed:
            self.missed.append(what)

    def sums(self):
        """Sum of times by side."""
        return {side.name: sum(self.best(query, side.name) for query in self.queries) for side in self.sides}

    def finish(self):
        """Writes the figures and ends the program, with 1 if a result was wrong or a bar missed."""
        FIGURES.mkdir(parents=True, exist_ok=True)
        # Those of some of the queries do not take the place of those of all.
        path = FIGURES / f"{self.name}-{settings.SIZE}{'-part' if self.options.queries else ''}.json"
        figures = {
            "when": time.strftime("%Y-%m-%d %H:%M:%S"), "options": {name: str(value) for name, value in vars(self.options).items()},
            "queries": {query.name: {"title": query.title, "rows": self.rows.get(query.name), "ours": _plain(self.ours(query)),
                                     "seconds": {side: [_plain(value) for value in values] for side, values in self.times[query.name].items()}}
                        for query in self.queries},
            "problems": self.problems, "missed": self.missed}
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        if not FULL:
            print("at this size no bar holds: only results that differ fail")
        for side in self.sides:
            side.close()
        sys.exit(1 if self.problems or self.missed else 0)


def _plain(value):
    """A number that JSON has."""
    return None if value is None or math.isinf(value) else round(value, 6)
