"""Queries of web analytics on a columnar table of 100 columns, beside a heap and DuckDB.

    make bench-wide SIZE=full

1,000,000 made-up page views; at the small size 50,000. No table has an index. Sides, turns and comparisons are those of bench_tpch.py.
Exits with 1 if a result differs or, at full size, if the geometric mean of our best times over DuckDB's with 2 threads is above its bar.
"""

import race
import racers
import wide
from harness import scratch, settings
from queries_wide import queries

BAR = 2.5


def main():
    """Entry point."""
    options = race.arguments(__doc__, rows=settings.size(50_000, 1_000_000))
    with scratch.server_and_directory("wide", race.CONFIG) as (server, directory):
        for schema in ("heap", "columnar"):
            server.query(f"CREATE SCHEMA {schema}")
            wide.load(server, schema, schema, options.rows)
        sides = race.postgres_sides(server) + racers.ducks(directory / "wide.duckdb", wide.for_duckdb(options.rows))
        contest = race.Race("wide", queries(), sides, options)
        contest.run()
        bars(contest)
        contest.finish()


def bars(contest):
    """What the figures come to."""
    for other in (side.name for side in contest.sides if not side.ours):
        mean = race.geometric_mean(contest.against(query, other) for query in contest.queries)
        if other == "DuckDB 2":
            contest.bar(f"geometric mean of ours:{other}", mean, BAR)
        else:
            print(f"geometric mean of ours:{other}: {mean:.2f}")


if __name__ == "__main__":
    main()
