"""Random queries on random tables, each a heap and a columnar table: results and errors are the same under every way to execute them."""

import io
import json
import os
import random
import tempfile
import threading
from collections import Counter
from pathlib import Path

from harness import settings
from harness.querygen import Queries
from harness.querygen_compare import difference
from harness.querygen_condition import parameterised, plain
from harness.querygen_schema import Schema
from harness.session import Outcome, ok, perform

STREAMS = 2
#: Queries on the columnar side, under all settings.
QUERIES = settings.size(1_600, 50_000)
PER_SCHEMA = 45
#: Repeats one schema with its queries, as a failure says.
ONLY = os.environ.get("OROCHI_FUZZ_SCHEMA")
_TIMEOUT = "57014"
# Where starting workers costs nothing, the planner starts them anew for each row of a nested loop, which takes seconds.
_PARALLEL = {"parallel_setup_cost": 1, "parallel_tuple_cost": 0, "min_parallel_table_scan_size": 0, "min_parallel_index_scan_size": 0,
             "max_parallel_workers_per_gather": 2}
_PLANS = ("enable_hashagg", "enable_sort", "enable_hashjoin", "enable_nestloop", "enable_mergejoin", "enable_indexscan", "enable_bitmapscan",
          "enable_memoize", "enable_incremental_sort")


class Failure(AssertionError):
    """A query whose results differ."""


class Stream(threading.Thread):
    """A session for each side, and schemas one after the other."""

    def __init__(self, server, database, seeds, stop):
        super().__init__(daemon=True)
        self.server, self.database, self.seeds, self.stop = server, database, seeds, stop
        self.counts, self.nodes, self.shapes = Counter(), Counter(), Counter()
        self.notes = []
        self.failure = None
        self.heap = self.other = None

    def run(self):
        try:
            for seed in self.seeds:
                if self.stop.is_set():
                    break
                self._schema(seed)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"
            self.stop.set()

    # Schemas

    def _connect(self, side, options):
        return self.server.connect(self.database, name=f"{side}_{self.database}", options={"search_path": side, **options})

    def _schema(self, seed):
        schema = Schema(seed)
        options = {"timezone": schema.zone, "statement_timeout": "8s", "extra_float_digits": 1}
        self.heap = self._connect("h", {**options, "max_parallel_workers_per_gather": 0})
        self.other = self._connect("c", options)
        try:
            self._make(schema)
            self._queries(schema, seed)
        finally:
            self.heap.close()
            self.other.close()

    def _make(self, schema):
        ok(self.heap, "DROP SCHEMA IF EXISTS h, c CASCADE")
        ok(self.heap, "CREATE SCHEMA h")
        ok(self.heap, "CREATE SCHEMA c")
        icu = has_icu(self.heap)
        for step in schema.fitting(icu):
            for side, session in (("h", self.heap), ("c", self.other)):
                if step.only not in (None, side):
                    continue
                if step.data is None:
                    ok(session, step.sql)
                else:
                    copy_in(session, step.sql, step.data)

    def _queries(self, schema, seed):
        maker = Queries(schema, f"{seed}/queries")
        queries = [maker.query() for _ in range(PER_SCHEMA)]
        chances = random.Random(f"{seed}/empty")
        expected = [self._expected(query, chances) for query in queries]
        for settings_of_pass in passes(self.other, random.Random(f"{seed}/settings")):
            perform(self.other, "RESET ALL")
            for name, value in settings_of_pass.items():
                ok(self.other, f"SET {name} = '{value}'")
            for number, (query, outcome) in enumerate(zip(queries, expected)):
                if outcome is not None and not self.stop.is_set():
                    self._check(query, outcome, settings_of_pass, seed, number)
                if number % 8 == 0 and outcome is not None and not outcome.error:
                    self._plan(query)

    # Queries

    def _expected(self, query, chances):
        outcome = perform(self.heap, plain(query.sql()))
        # No rows show little: conditions are given up one by one until there are some, but not always.
        while outcome.rows == [] and (query.where or query.having) and chances.random() < 0.85:
            parts = query.where or query.having
            parts.pop(chances.randrange(len(parts)))
            outcome = perform(self.heap, plain(query.sql()))
        if outcome.error and outcome.error[0] == _TIMEOUT:
            self.counts["too slow for a heap"] += 1
            self.notes.append(f"timeout of a heap: {plain(query.sql())[:1500]}")
            return None
        if outcome.error and outcome.error[0] not in query.codes:
            # The generator's fault, not that of the table: the query cannot be executed, or errs where it should not.
            raise Failure(f"{outcome.error}\n{plain(query.sql())}")
        return outcome

    def _check(self, query, expected, settings_of_pass, seed, number):
        found = execute(self.other, query)
        self.counts["queries"] += 1
        self.shapes[query.shape] += 1
        if found.error and found.error[0] == _TIMEOUT:
            self.counts["timeouts"] += 1
            self.notes.append(f"timeout: {seed} {settings_of_pass} {plain(query.sql())[:1500]}")
            return
        self.counts["errors"] += bool(expected.error)
        self.counts["empty"] += expected.rows == []
        differs = difference(query, expected, found)
        if differs:
            raise Failure(self._report(query, differs, settings_of_pass, seed, number))

    def _plan(self, query):
        plan = perform(self.other, f"EXPLAIN (COSTS OFF, FORMAT JSON) {plain(query.sql())}")
        if not plan.error:
            self.counts["plans"] += 1
            self.nodes.update(set(node_names(json.loads(plan.rows[0][0])[0]["Plan"])))

    # Failures

    def _report(self, query, differs, settings_of_pass, seed, number):
        small, small_differs = self._reduced(query, differs)
        explained = perform(self.other, f"EXPLAIN VERBOSE {plain(small.sql())}")
        script = self._script(seed, settings_of_pass, small)
        return "\n".join((
            f"query {number} of OROCHI_FUZZ_SCHEMA={seed}, run as {query.mode}", f"settings: {settings_of_pass}", plain(query.sql()), differs,
            f"smaller, run as {small.mode}:", plain(small.sql()), small_differs, *(row[0] for row in explained.rows or []),
            f"all of it for psql: {script}"))

    def _reduced(self, query, differs):
        """The query without the parts that are not needed to see a difference."""
        changed = True
        while changed:
            changed = False
            for candidate in query.smaller():
                found = difference(candidate, perform(self.heap, plain(candidate.sql())), execute(self.other, candidate))
                if found:
                    query, differs, changed = candidate, found, True
                    break
        return query, differs

    def _script(self, seed, settings_of_pass, query):
        path = Path(settings.RUN_DIR or tempfile.gettempdir()) / f"query-fuzz-{seed}.sql"
        sets = [f"SET {name} = '{value}';" for name, value in settings_of_pass.items()]
        sql = f"{plain(query.sql())};"
        lines = [Schema(seed).script(has_icu(self.heap)), "SET search_path = h;", sql, "SET search_path = c;", *sets, sql]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path


def has_icu(session):
    """Whether the server has the collation of a language."""
    return bool(ok(session, "SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'"))


def copy_in(session, sql, data):
    """COPY FROM STDIN."""
    with session.cursor() as cursor:
        cursor.copy_expert(sql, io.StringIO(data))


def node_names(plan):
    """Names of the nodes of a plan; custom scans by their own."""
    yield plan.get("Custom Plan Provider") and f"Custom Scan ({plan['Custom Plan Provider']})" or plan["Node Type"]
    for child in plan.get("Plans", ()):
        yield from node_names(child)


def passes(session, r):
    """The ways to execute queries, as settings: one process, parallel, little memory, and further ones so that every SIMD level has its turn."""
    known = {name: values for name, values in ok(session, "SELECT name, array_to_string(enumvals, ',') FROM pg_settings")}
    levels = (known.get("orochi.simd_level") or "").split(",")
    r.shuffle(levels)
    serial = {"max_parallel_workers_per_gather": 0}
    forced = {name: "off" for name in r.sample(_PLANS, r.choice((0, 0, 1, 2, 3)))}
    if {"enable_hashjoin", "enable_mergejoin"} <= forced.keys():
        del forced["enable_hashjoin"]
    made = [dict(serial), {**_PARALLEL, **forced}, {"work_mem": "64kB", "hash_mem_multiplier": 1, **r.choice((serial, _PARALLEL))}]
    made += [dict(r.choice((serial, _PARALLEL))) for _ in levels[3:]]
    for number, chosen in enumerate(made):
        if "orochi.simd_level" in known:
            chosen["orochi.simd_level"] = levels[number % len(levels)]
        if "orochi.enable_vectorized_execution" in known:
            chosen["orochi.enable_vectorized_execution"] = "on"
    return made


def execute(session, query):
    """Runs a query in its mode."""
    sql = query.sql()
    if query.mode in ("generic", "custom"):
        text, types, values = parameterised(sql)
        if values:
            perform(session, f"SET plan_cache_mode = force_{query.mode}_plan")
            prepared = perform(session, f"PREPARE q ({', '.join(types)}) AS {text}")
            outcome = prepared if prepared.error else perform(session, f"EXECUTE q ({', '.join(values)})")
            perform(session, "DEALLOCATE q")
            return outcome
    if query.mode in ("cursor", "scroll"):
        return _through_cursor(session, plain(sql), "SCROLL " if query.mode == "scroll" else "")
    return perform(session, plain(sql))


def _through_cursor(session, sql, scroll):
    rows, outcome = [], None
    perform(session, "BEGIN")
    try:
        backward = ("FETCH BACKWARD 2 FROM f", "MOVE ABSOLUTE 3 IN f") if scroll else ()
        for statement in (f"DECLARE f {scroll}CURSOR FOR {sql}", "FETCH 3 FROM f", *backward, "FETCH 1000 FROM f", "FETCH ALL FROM f"):
            outcome = perform(session, statement)
            if outcome.error:
                return outcome
            rows += outcome.rows if outcome.rows and "BACKWARD" not in statement else []
        return Outcome(outcome.status, rows)
    finally:
        perform(session, "ROLLBACK")


def test_random_queries(make_server):
    """Nothing happens in the background, so that a seed gives the same stripes again."""
    quiet = {"autovacuum": "off", "max_worker_processes": "16", "max_parallel_workers": "8", "jit": "off"}
    if settings.COLUMNAR:
        quiet["orochi.mover_enabled"] = "off"
    server = make_server(config=quiet, name="fuzz")
    seeds = [ONLY] if ONLY else [f"{settings.SEED}.{number}" for number in range(-(-QUERIES // (3 * PER_SCHEMA)))]
    stop = threading.Event()
    streams = []
    for number in range(min(STREAMS, len(seeds))):
        server.create_database(f"fuzz_{number}")
        streams.append(Stream(server, f"fuzz_{number}", seeds[number::STREAMS], stop))
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.join()
    report(streams)


def report(streams):
    """Prints what was done, and judges it."""
    counts, nodes, shapes = (sum((getattr(stream, name) for stream in streams), Counter()) for name in ("counts", "nodes", "shapes"))
    queries = max(1, counts["queries"])
    print(f"\n{queries} queries, errors {counts['errors'] / queries:.1%}, empty results {counts['empty'] / queries:.1%}, "
          f"timeouts {counts['timeouts']}, too slow for a heap {counts['too slow for a heap']}")
    print(f"shapes: {dict(shapes.most_common())}\nof {counts['plans']} plans: {dict(nodes.most_common())}")
    for note in [note for stream in streams for note in stream.notes][:10]:
        print(note)
    failures = [stream.failure for stream in streams if stream.failure]
    assert not failures, f"OROCHI_SEED={settings.SEED}\n" + "\n\n".join(failures)
    assert counts["errors"] <= 0.15 * queries
    if not ONLY:
        assert counts["empty"] <= 0.3 * queries and counts["timeouts"] <= 0.01 * queries
