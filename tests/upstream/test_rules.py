#!/usr/bin/env python3
"""Unit tests of the classifier's rules for single statements: each explains what it should, and no wrong row."""

import json
import unittest

import classify
import transcript
from differences import CATALOG, CTID, ORDER, PLAN, PLAN_SHAPE, SIZE, UNSUPPORTED, compare
from test_classify import kinds, table


class Rules(unittest.TestCase):
    def check(self, kind, statement, header, expected, result, earlier=(), shown=()):
        place = transcript.Place("here", [statement], table(header, *expected), table(header, *result))
        self.assertEqual(compare(place, earlier, shown), [kind], statement)

    def refuse(self, *arguments, **more):
        self.check(UNSUPPORTED, *arguments, **more)


class Ties(Rules):
    header = ("id", "a")
    query = "SELECT id, a FROM t ORDER BY a LIMIT 3;"

    def test_last_group_is_cut(self):
        self.check(ORDER, self.query, self.header, [(1, 1), (2, 2), (3, 2)], [(1, 1), (2, 2), (4, 2)])

    def test_rows_that_no_limit_cuts(self):
        expected, result = [(1, 1), (2, 2), (3, 2)], [(1, 1), (2, 2), (4, 2)]
        for query in ("SELECT id, a FROM t ORDER BY a;", "SELECT id, a FROM t ORDER BY a LIMIT 5;",
                      "SELECT id, a FROM t ORDER BY a LIMIT ALL;", "SELECT id, a FROM t ORDER BY a FETCH FIRST 3 ROWS WITH TIES;"):
            self.refuse(query, self.header, expected, result)

    def test_other_groups_are_complete(self):
        self.refuse(self.query, self.header, [(1, 1), (2, 1), (3, 2)], [(1, 1), (4, 1), (3, 2)])
        offset = "SELECT id, a FROM t ORDER BY a LIMIT 3 OFFSET 5;"
        self.check(ORDER, offset, self.header, [(1, 1), (2, 1), (3, 2)], [(1, 1), (4, 1), (3, 2)])

    def test_keys_are_the_same(self):
        self.refuse(self.query, self.header, [(1, 1), (2, 2), (3, 2)], [(1, 1), (2, 2), (3, 3)])

    def test_no_ties_are_seen(self):
        self.refuse(self.query, self.header, [(1, 1), (2, 2), (3, 3)], [(1, 1), (2, 2), (4, 3)])

    def test_cursors(self):
        made = ["DECLARE c CURSOR FOR SELECT id, a FROM t ORDER BY a"]
        expected, result = [(1, 1), (2, 2), (3, 2)], [(1, 1), (2, 2), (4, 2)]
        self.check(ORDER, "FETCH 3 FROM c;", self.header, expected, result, made)
        self.refuse("FETCH ALL FROM c;", self.header, expected, result, made)


class TiesOfCluster(Rules):
    header = ("id", "a")
    query = "SELECT id, a FROM t ORDER BY ctid LIMIT 2;"
    earlier = ["CREATE INDEX t_a ON t (a);", "CLUSTER t USING t_a;", "-- head\nSELECT 1;"]
    expected, result = [(1, 1), (2, 2)], [(1, 1), (3, 2)]
    shown = [table(("id", "a"), (3, 2))]

    def test_tie(self):
        self.check(CTID, self.query, self.header, self.expected, self.result, self.earlier, self.shown)

    def test_row_that_was_never_seen(self):
        self.refuse(self.query, self.header, self.expected, self.result, self.earlier)
        self.refuse(self.query, self.header, self.expected, self.result, self.earlier, [table(("id", "b"), (3, 2))])

    def test_row_that_comes_twice(self):
        self.refuse("SELECT id, a FROM t ORDER BY ctid LIMIT 3;", self.header, [(1, 1), (2, 2), (4, 2)],
                    [(1, 1), (3, 2), (3, 2)], self.earlier, self.shown)

    def test_other_key(self):
        self.refuse(self.query, self.header, self.expected, [(1, 1), (3, 3)], self.earlier, [table(self.header, (3, 3))])

    def test_not_in_the_order_of_an_index(self):
        for earlier in ([], self.earlier[:1], self.earlier[1:], self.earlier + ["UPDATE t SET a = 1;"],
                        ["CREATE INDEX t_a ON t (a);", "CLUSTER u USING t_a;"], ["CREATE INDEX t_a ON t (f(a));", "CLUSTER t USING t_a;"]):
            self.refuse(self.query, self.header, self.expected, self.result, earlier, self.shown)


class Storage(Rules):
    def test_larger_file(self):
        query = "SELECT pg_relation_size('t') = 0 AS empty;"
        self.check(SIZE, query, ("empty",), [("t",)], [("f",)])
        self.refuse(query, ("empty",), [("f",)], [("t",)])
        self.refuse("SELECT count(*) = 0 AS empty FROM t;", ("empty",), [("t",)], [("f",)])
        self.refuse("SELECT pg_relation_size('t') = count(*) AS empty FROM t;", ("empty",), [("t",)], [("f",)])

    def test_ranges_to_summarize(self):
        header = ("brin_summarize_new_values",)
        self.check(SIZE, "SELECT brin_summarize_new_values('i');", header, [(0,)], [(1,)])
        self.refuse("SELECT brin_summarize_new_values('i') FROM t;", header, [(0,)], [(1,)])
        self.refuse("SELECT brin_summarize_range('i', 0);", header, [(0,)], [(1,)])

    def test_compression(self):
        query, header = "SELECT pg_column_compression(b), a FROM t;", ("pg_column_compression", "a")
        self.check(SIZE, query, header, [("pglz", "t"), ("lz4", "x")], [("", "t"), ("", "x")])
        self.refuse(query, header, [("pglz", "t")], [("", "")])
        self.refuse(query, header, [("", "t")], [("pglz", "t")])
        self.refuse(query, header, [("pglz", "t")], [("lz4", "t")])
        self.refuse(query, header, [("pglz", "t"), ("pglz", "t")], [("", "t")])
        self.refuse("SELECT b FROM t;", ("b",), [("pglz",)], [("",)])

    def test_chunks(self):
        self.check(SIZE, "SELECT pg_column_toast_chunk_id(a) IN (SELECT 1);", ("?column?",), [("t",)], [("",)])
        self.refuse("SELECT pg_column_toast_chunk_id(a) IN (SELECT 1);", ("?column?",), [("t",)], [("f",)])


class Locations(Rules):
    def test_samples(self):
        self.check(CTID, "SELECT a FROM t TABLESAMPLE SYSTEM (50);", ("a",), [(1,)], [(2,), (3,)])
        for query in ("SELECT a FROM t TABLESAMPLE SYSTEM (100);", "SELECT a FROM t TABLESAMPLE BERNOULLI (0);", "SELECT a FROM t;",
                      "SELECT a FROM t TABLESAMPLE SYSTEM (50), u TABLESAMPLE SYSTEM (100);", "SELECT 'TABLESAMPLE SYSTEM (50)';",
                      "DELETE FROM t USING u TABLESAMPLE SYSTEM (50) RETURNING a;"):
            self.refuse(query, ("a",), [(1,)], [(2,), (3,)])

    def test_samples_of_views_and_cursors(self):
        view, cursor = "CREATE VIEW v AS SELECT a FROM t TABLESAMPLE SYSTEM (20);", "DECLARE c CURSOR FOR SELECT a FROM t TABLESAMPLE SYSTEM (20);"
        self.check(CTID, "SELECT a FROM v;", ("a",), [(1,)], [(2,)], [view])
        self.check(CTID, "FETCH NEXT FROM c;", ("a",), [(1,)], [(2,)], [cursor])
        self.refuse("FETCH NEXT FROM d;", ("a",), [(1,)], [(2,)], [cursor])

    def test_tid_ranges(self):
        query = "SELECT ctid FROM t WHERE ctid > '(0,5)' AND '(1,0)' >= ctid;"
        self.check(CTID, query, ("ctid",), [("(0,6)",)], [("(0,7)",), ("(0,9)",)])
        self.refuse(query, ("ctid",), [("(0,6)",)], [("(0,5)",)])
        self.refuse(query, ("ctid",), [("(0,6)",)], [("(1,1)",)])
        self.refuse(query, ("ctid",), [("(0,6)",)], [("(0,7)",), ("(0,7)",)])
        self.refuse("SELECT a FROM t WHERE ctid > '(0,5)';", ("a",), [(1,)], [(2,)])

    def test_tid_of_a_new_version(self):
        query, name = "UPDATE t SET a = a + 1 WHERE ctid = '(0,1)' OR ctid = '(0,3)' RETURNING a;", "permutation / step s completed"
        def difference(statement, where, expected, result):
            return compare(transcript.Place(where, [statement], table(("a",), *expected), table(("a",), *result)))
        self.assertEqual(difference(query, name, [(2,)], []), [CTID])
        self.assertEqual(difference(query, name, [(2,)], [(3,)]), [UNSUPPORTED])
        self.assertEqual(difference(query, "permutation / step s done", [(2,)], []), [UNSUPPORTED])
        self.assertEqual(difference(query.replace("(0,3)", "(0,1)"), name, [(2,)], []), [UNSUPPORTED])
        self.assertEqual(difference("UPDATE t SET a = 1 WHERE a = 1 RETURNING a;", name, [(2,)], []), [UNSUPPORTED])


class Plans(Rules):
    explain = "EXPLAIN (COSTS OFF) SELECT a FROM t;"

    def test_without_heading(self):
        ours = [" Custom Scan (ColumnarScan) on t", "   Columns: 1 of 2", ""]
        self.assertEqual(kinds(self.explain, [" Seq Scan on t", ""], ours), [PLAN])
        self.assertEqual(kinds(self.explain, [" Seq Scan on t", ""], [" Index Scan using i on t", ""]), [PLAN_SHAPE])
        self.assertEqual(kinds(self.explain, [" Seq Scan on t", ""], ["ERROR:  no"]), [UNSUPPORTED])
        self.assertEqual(kinds(self.explain, [" Seq Scan on t", ""], [" 17", ""]), [UNSUPPORTED])
        self.assertEqual(kinds("SELECT a FROM t;", [" Seq Scan on t", ""], ours), [UNSUPPORTED])

    def plan(self, **node):
        return [(json.dumps([{"Plan": node}]),)]

    def test_json(self):
        ours = {"Node Type": "Custom Scan", "Custom Plan Provider": "ColumnarScan", "Columns": "1 of 2", "Alias": "t"}
        heap = {"Node Type": "Seq Scan", "Alias": "t"}
        call = "SELECT jsonb_pretty(f('EXPLAIN (FORMAT json) SELECT 1') -> 0);"
        self.check(PLAN, call, ("jsonb_pretty",), self.plan(**heap), self.plan(**ours))
        for header, other in ((("f",), ours | {"Alias": "u"}), (("f",), ours | {"Custom Plan Provider": "Other"})):
            self.refuse("SELECT f('explain');", header, self.plan(**heap), self.plan(**other))
        self.refuse("SELECT a FROM t;", ("a",), self.plan(**heap), self.plan(**ours))
        self.refuse(call, ("f",), [('{"Node Type": "Seq Scan"}',)], [('{"Node Type": "Custom Scan"}',)])

    def test_looking_for_a_node(self):
        block = "DO $$ BEGIN IF NOT x LIKE '%Seq Scan on t%' THEN RAISE WARNING 'did not get seqscan plan for %', r; END IF; END $$;"
        warning = "WARNING:  did not get seqscan plan for (a)"
        self.assertEqual(kinds(block, [], [warning]), [PLAN])
        self.assertEqual(kinds(block, [], [warning, "WARNING:  something else"]), [UNSUPPORTED])
        self.assertEqual(kinds(block, ["WARNING:  expected"], [warning]), [UNSUPPORTED])
        self.assertEqual(kinds("SELECT 1;", [], [warning]), [UNSUPPORTED])

    def test_notices_of_an_index_expression(self):
        once, twice = ["NOTICE:  f() called"], ["NOTICE:  f() called"] * 2
        self.assertEqual(kinds("CLUSTER t USING i;", twice, once), [PLAN_SHAPE])
        self.assertEqual(kinds("CLUSTER t USING i;", twice, []), [UNSUPPORTED])
        self.assertEqual(kinds("CLUSTER t USING i;", twice, once + ["ERROR:  no"]), [UNSUPPORTED])
        self.assertEqual(kinds("CLUSTER t USING i;", twice, ["NOTICE:  f() failed"]), [UNSUPPORTED])
        self.assertEqual(kinds("INSERT INTO t VALUES (1);", twice, once), [UNSUPPORTED])


class Catalogs(Rules):
    def test_listings(self):
        query, header = "SELECT amname, amtype FROM pg_am ORDER BY 1;", ("amname", "amtype")
        self.check(CATALOG, query, header, [("btree", "i"), ("heap", "t")], [("btree", "i"), ("columnar", "t"), ("heap", "t")])
        self.refuse(query, header, [("btree", "i"), ("heap", "t")], [("btree", "i"), ("columnar", "t")])
        self.refuse(query, header, [("btree", "i"), ("heap", "t")], [("columnar", "t"), ("heap", "t"), ("btree", "i")])
        self.refuse(query, header, [("btree", "i")], [("btree", "i"), ("other", "t")])
        self.refuse("SELECT amname, amtype FROM t;", header, [("btree", "i")], [("btree", "i"), ("columnar", "t")])

    def test_reindexed(self):
        info = 'INFO:  index "pg_toast_{}_index" was reindexed'.format(7)
        end = "NOTICE:  REINDEX END: command_tag=REINDEX type=index identity={}"
        self.assertEqual(kinds("REINDEX (VERBOSE) TABLE t;", [], [info]), [CATALOG])
        self.assertEqual(kinds("REINDEX TABLE t;", [end.format("public.i")], [end.format("public.i"), end.format("pg_toast.pg_toast_7_index")]), [CATALOG])
        self.assertEqual(kinds("REINDEX TABLE t;", [end.format("public.i")], [end.format("pg_toast.pg_toast_7_index")]), [UNSUPPORTED])
        self.assertEqual(kinds("REINDEX TABLE t;", [], [end.format("public.i")]), [UNSUPPORTED])
        self.assertEqual(kinds("SELECT 1;", [], [info]), [UNSUPPORTED])

    def test_nothing_to_reindex(self):
        notice = 'NOTICE:  table "t" has no indexes to reindex'
        self.assertEqual(kinds("REINDEX TABLE t;", [notice], []), [CATALOG])
        self.assertEqual(kinds("REINDEX TABLE t;", [], [notice]), [UNSUPPORTED])
        self.assertEqual(kinds("REINDEX TABLE t;", ["WARNING:  w", notice], []), [UNSUPPORTED])
        self.assertEqual(kinds("REINDEX TABLE t;", [notice], ["ERROR:  no"]), [UNSUPPORTED])
        self.assertEqual(kinds("DROP TABLE t;", ["NOTICE:  n"], []), [UNSUPPORTED])

    def test_toast(self):
        query, header = "SELECT relname, reltoastrelid <> 0 AS has_toast, relispartition FROM pg_class;", ("relname", "has_toast", "relispartition")
        self.check(CATALOG, query, header, [("t", "f", "f")], [("t", "t", "f")])
        self.refuse(query, header, [("t", "t", "f")], [("t", "f", "f")])
        self.refuse(query, header, [("t", "f", "f")], [("t", "t", "t")])
        self.refuse("SELECT has_toast FROM t;", ("has_toast",), [("f",)], [("t",)])

    def test_functions(self):
        query, header = "SELECT p.oid, p.proname, q.oid FROM pg_proc p, pg_proc q;", ("oid", "proname", "oid")
        self.check(CATALOG, query, header, [], [(89, "version", 16400), (16400, "version", 89)])
        self.refuse(query, header, [], [(89, "version", 90)])
        self.refuse(query, header, [], [(89, "other", 16400)])
        self.refuse(query, header, [], [(89, 1, 16400)])
        self.refuse(query.replace("pg_proc", "t"), header, [], [(89, "version", 16400)])

    def test_locks_of_the_companion(self):
        query, header = "SELECT locktype, mode FROM pg_locks;", ("locktype", "mode")
        self.check(CATALOG, query, header, [("tuple", "SIReadLock")], [("tuple", "SIReadLock")] * 2)
        self.refuse(query, header, [("tuple", "SIReadLock")], [("tuple", "SIReadLock"), ("relation", "SIReadLock")])
        self.refuse(query, header, [("tuple", "ExclusiveLock")], [("tuple", "ExclusiveLock")] * 2)
        self.refuse("SELECT locktype, mode FROM t;", header, [("tuple", "SIReadLock")], [("tuple", "SIReadLock")] * 2)


class Transcripts(unittest.TestCase):
    def found(self, script, expected, result):
        return [kinds for _, kinds in classify.differing_places(transcript.regress_places(script, expected, result))]

    def test_gexec(self):
        script = "SELECT q FROM queries \\gexec\n"
        def transcribe(plan, rows):
            return ["SELECT q FROM queries \\gexec", "EXPLAIN SELECT a FROM t"] + table(("QUERY PLAN",), (plan,)) + \
                ["SELECT a FROM t"] + table(("a",), *rows) + [""]
        heap, ours = "Seq Scan on t", "Custom Scan (ColumnarScan) on t"
        self.assertEqual(self.found(script, transcribe(heap, [(1,), (2,)]), transcribe(ours, [(2,), (1,)])), [[PLAN], [ORDER]])
        self.assertEqual(self.found(script, transcribe(heap, [(1,)]), transcribe(ours, [(2,)])), [[PLAN], [UNSUPPORTED]])

    def test_gexec_that_runs_other_statements(self):
        script = "SELECT q FROM queries \\gexec\n"
        echo = ["SELECT q FROM queries \\gexec"]
        self.assertEqual(self.found(script, echo + ["SELECT 1"] + table(("a",), (1,)), echo + ["SELECT 2"] + table(("a",), (1,))), [[UNSUPPORTED]])

    def test_blank_lines_of_the_script(self):
        script = "SELECT a FROM t;\n\nSELECT b FROM t;\n"
        def transcribe(rows):
            return ["SELECT a FROM t;"] + table(("a",), *rows) + ["SELECT b FROM t;"] + table(("b",), (1,))
        self.assertEqual(self.found(script, transcribe([(1,), (2,)]), transcribe([(2,), (1,)])), [[ORDER]])
        self.assertEqual(self.found(script, transcribe([(1,), (2,)]), transcribe([(1,)])), [[UNSUPPORTED]])


if __name__ == "__main__":
    unittest.main()
