"""Queries of time series on a columnar table, beside a heap and DuckDB.

    make bench-series SIZE=full

Rows shaped like those of the Time Series Benchmark Suite, 5 million; at the small size 200,000. The columnar table has segment_by host and
order_by time and is compacted, and both it and the heap have an index on (host, time desc). Sides, turns and comparisons are those of
bench_tpch.py. Exits with 1 if a result differs or, at full size, above a bar: selective queries beside the heap, the others beside DuckDB.
"""

import race
import racers
import tsbs
from harness import scratch, settings
from queries_tsbs import queries

#: Of our best time over the heap's, or seconds that are good whatever the heap takes.
SELECTIVE_BAR, SOON = 2.0, 0.002
#: Of our best time over DuckDB's with 2 threads.
WHOLE_BAR = 2.0


def main():
    """Entry point."""
    options = race.arguments(__doc__, rows=settings.size(200_000, 5_000_000))
    with scratch.server_and_directory("series", race.CONFIG) as (server, directory):
        for schema in ("heap", "columnar"):
            server.query(f"CREATE SCHEMA {schema}")
            tsbs.load(server, schema, schema, options.rows)
        sides = race.postgres_sides(server) + racers.ducks(directory / "tsbs.duckdb", tsbs.for_duckdb(options.rows))
        contest = race.Race("series", queries(options.rows), sides, options)
        contest.run()
        bars(contest)
        contest.finish()


def bars(contest):
    """What the figures come to."""
    selective = [query for query in contest.queries if query.kind == "selective" and contest.ours(query) > SOON]
    contest.bar_each(f"ours:heap, selective, above {SOON * 1000:.0f} ms", ((query, contest.against(query, "heap")) for query in selective),
                     SELECTIVE_BAR)
    whole = [query for query in contest.queries if query.kind == "whole"]
    if any(side.name == "DuckDB 2" for side in contest.sides):
        contest.bar_each("ours:DuckDB 2, whole table", ((query, contest.against(query, "DuckDB 2")) for query in whole), WHOLE_BAR)


if __name__ == "__main__":
    main()
