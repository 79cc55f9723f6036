"""The 22 queries of TPC-H after a twentieth of the rows of each larger table has been updated and nothing moved since.

    make bench-updates SIZE=full

Scale factor 1; at the small size 0.01. Columnar tables as they were loaded and updated ones take turns, each without workers and with 2;
a heap with the same updates runs each query once, and the results of the updated tables are compared with its. All have the indexes of
bench_tpch.py. The mover is off. Exits with 1 if a result differs or, at full size, above the bar.
"""

import race
import tpch
from harness import scratch, settings
from queries_tpch import queries
from racers import PARALLEL, SERIAL, Postgres

#: Of the sum of times with updates over that without, best of both ways.
BAR = 1.5


def main():
    """Entry point."""
    options = race.arguments(__doc__, scale=settings.size(0.01, 1.0))
    with scratch.server_and_directory("updates", race.CONFIG) as (server, _):
        connection = server.connect()
        for schema, method in (("heap", "heap"), ("clean", "columnar"), ("updated", "columnar")):
            tpch.load(connection, schema, method, options.scale)
        for schema in ("heap", "updated"):
            tpch.update(connection, schema)
        connection.close()
        sides = [Postgres("heap", server, "heap", PARALLEL, once=True), Postgres("clean", server, "clean", SERIAL, alone=True),
                 Postgres("clean, 2 workers", server, "clean", PARALLEL, alone=True), Postgres("updated", server, "updated", SERIAL, ours=True),
                 Postgres("updated, 2 workers", server, "updated", PARALLEL, ours=True)]
        contest = race.Race("updates", queries(options.scale), sides, options)
        contest.run()
        bars(contest)
        contest.finish()


def bars(contest):
    """What the figures come to."""
    clean = {query.name: contest.best(query, "clean", "clean, 2 workers") for query in contest.queries}
    ours = sum(map(contest.ours, contest.queries))
    print(f"sum, clean: {sum(clean.values()) * 1000:.1f} ms; updated: {ours * 1000:.1f} ms")
    contest.bar("sum of updated:clean", race.ratio(ours, sum(clean.values())), BAR)
    ratios = [(race.ratio(contest.ours(query), clean[query.name]), query.title) for query in contest.queries]
    print("most: " + ", ".join(f"{title} {value:.2f}" for value, title in sorted(ratios, reverse=True)[:5]))


if __name__ == "__main__":
    main()
