"""The 22 queries of TPC-H on columnar tables, beside a heap and DuckDB.

    make bench SIZE=full
    make bench ARGS='--queries 1,6 --rounds 5 --explain plans'

Scale factor 1; at the small size 0.01. Sides take turns, and the best of several runs behind one that fills caches counts: a heap that
may use 2 workers, columnar tables without workers and with 2, and DuckDB's file with 1 and with 2 threads. PostgreSQL's tables are moved
and analyzed, the planner's costs are the defaults, and there are primary keys and indexes on foreign keys and dates: of columnar tables
`--indexes keys` makes primary keys alone and `--indexes none` nothing. Every result is compared: byte for byte within PostgreSQL, by value
with DuckDB's. Exits with 1 if one differs or, at full size, above a bar.
"""

import race
import racers
import tpch
from harness import scratch, settings
from queries_tpch import queries

#: Of our best time over DuckDB's with 2 threads, for all queries together and for each; and over the heap's for each.
SUM_BAR, EACH_BAR, HEAP_BAR = 3.0, 6.0, 1.2
#: Seconds by which a query may exceed DuckDB's time whatever the ratio.
NEAR = 0.05


def main():
    """Entry point."""
    options = race.arguments(__doc__, scale=settings.size(0.01, 1.0), indexes="all")
    with scratch.server_and_directory("tpch", race.CONFIG) as (server, directory):
        connection = server.connect()
        tpch.load(connection, "heap", "heap", options.scale)
        tpch.load(connection, "columnar", "columnar", options.scale, options.indexes)
        connection.close()
        sides = race.postgres_sides(server) + racers.ducks(directory / "tpch.duckdb", tpch.for_duckdb(options.scale))
        contest = race.Race("tpch", queries(options.scale), sides, options)
        contest.run()
        bars(contest)
        contest.finish()


def bars(contest):
    """What the figures come to."""
    ours = sum(map(contest.ours, contest.queries))
    sums = contest.sums()
    print(f"sum of ours: {ours * 1000:.1f} ms; " + ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in sums.items()))
    if "DuckDB 2" in sums:
        contest.bar("sum of ours:DuckDB 2", race.ratio(ours, sums["DuckDB 2"]), SUM_BAR)
        ratios = [(query, contest.against(query, "DuckDB 2")) for query in contest.queries]
        print(f"geometric mean of ours:DuckDB 2: {race.geometric_mean(value for _, value in ratios):.2f}")
        far = [(query, value) for query, value in ratios if contest.ours(query) - contest.best(query, "DuckDB 2") > NEAR]
        contest.bar_each(f"ours:DuckDB 2 where more than {NEAR * 1000:.0f} ms apart", far, EACH_BAR)
    contest.bar_each("ours:heap", ((query, contest.against(query, "heap")) for query in contest.queries), HEAP_BAR)


if __name__ == "__main__":
    main()
