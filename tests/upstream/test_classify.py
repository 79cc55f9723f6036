#!/usr/bin/env python3
"""Unit tests of the classifier: above all, what it must not explain away."""

import unittest

import sqltext
import transcript
from differences import CONTEXT, CTID, ORDER, PLAN, PLAN_SHAPE, SIZE, UNSUPPORTED, compare


def table(header, *rows):
    """A result set in psql's aligned format."""
    cells = [header] + list(rows)
    widths = [max(len(str(row[i])) for row in cells) for i in range(len(header))]
    def line(row):
        return " " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths))
    count = f"({len(rows)} row{'' if len(rows) == 1 else 's'})"
    return [line(header), "+".join("-" * (width + 2) for width in widths), *map(line, rows), count, ""]


def kinds(statement, expected, result, earlier=()):
    return compare(transcript.Place("here", [statement], expected, result), earlier)


class ResultSets(unittest.TestCase):
    header = ("a", "b")

    def compare(self, statement, expected, result, earlier=()):
        return kinds(statement, table(self.header, *expected), table(self.header, *result), earlier)

    def test_equal(self):
        self.assertEqual(self.compare("SELECT * FROM t;", [(1, 2)], [(1, 2)]), [])

    def test_same_rows_in_another_order(self):
        self.assertEqual(self.compare("SELECT * FROM t;", [(1, 2), (3, 4)], [(3, 4), (1, 2)]), [ORDER])

    def test_wrong_value(self):
        self.assertEqual(self.compare("SELECT * FROM t;", [(1, 2), (3, 4)], [(3, 4), (1, 5)]), [UNSUPPORTED])

    def test_cells_swapped_between_rows(self):
        self.assertEqual(self.compare("SELECT * FROM t;", [(1, 2), (3, 4)], [(1, 4), (3, 2)]), [UNSUPPORTED])

    def test_missing_and_doubled_rows(self):
        self.assertEqual(self.compare("SELECT * FROM t;", [(1, 2), (3, 4)], [(1, 2)]), [UNSUPPORTED])
        self.assertEqual(self.compare("SELECT * FROM t;", [(1, 2), (3, 4)], [(1, 2), (1, 2)]), [UNSUPPORTED])

    def test_order_that_the_statement_asks_for(self):
        rows, turned = [(1, 2), (3, 4)], [(3, 4), (1, 2)]
        for statement in ("SELECT * FROM t ORDER BY a;", "SELECT * FROM t ORDER BY 1 DESC NULLS LAST LIMIT 5;",
                          "SELECT * FROM t ORDER BY a + b;", "select * from (select 1) s order by t.b collate \"C\"",
                          "SELECT * FROM t -- ORDER BY nothing\nORDER BY b;"):
            self.assertEqual(self.compare(statement, rows, turned), [UNSUPPORTED], statement)

    def test_order_among_equal_keys(self):
        self.assertEqual(self.compare("SELECT * FROM t ORDER BY a;", [(1, 2), (1, 4)], [(1, 4), (1, 2)]), [ORDER])
        self.assertEqual(self.compare("SELECT * FROM t ORDER BY a, b;", [(1, 2), (1, 4)], [(1, 4), (1, 2)]), [UNSUPPORTED])

    def test_order_by_elsewhere_binds_nothing(self):
        for statement in ("SELECT rank() OVER (ORDER BY a) FROM t;", "SELECT 'order by a' FROM t;",
                          "SELECT $$ order by a $$ FROM t;"):
            self.assertEqual(self.compare(statement, [(1, 2), (3, 4)], [(3, 4), (1, 2)]), [ORDER], statement)

    def test_cursor_remembers_its_order(self):
        rows, turned = [(1, 2), (3, 4)], [(3, 4), (1, 2)]
        self.assertEqual(self.compare("FETCH ALL FROM c;", rows, turned, ["DECLARE c CURSOR FOR SELECT * FROM t"]), [ORDER])
        ordered = ["DECLARE c SCROLL CURSOR FOR SELECT * FROM t ORDER BY a"]
        self.assertEqual(self.compare("FETCH ALL FROM c;", rows, turned, ordered), [UNSUPPORTED])
        self.assertEqual(self.compare("EXECUTE p(1);", rows, turned, ["PREPARE p AS SELECT * FROM t ORDER BY a"]), [UNSUPPORTED])

    def test_rows_of_several_lines(self):
        one = [" a | b ", "---+---", " 1 | x+", "   | y", " 2 | z", "(2 rows)", ""]
        turned = [" a | b ", "---+---", " 2 | z", " 1 | x+", "   | y", "(2 rows)", ""]
        torn = [" a | b ", "---+---", " 1 | x", " 2 | z+", "   | y", "(2 rows)", ""]
        self.assertEqual(kinds("SELECT * FROM t;", one, turned), [ORDER])
        self.assertEqual(kinds("SELECT * FROM t;", one, torn), [UNSUPPORTED])

    def test_error_instead_of_rows(self):
        self.assertEqual(kinds("SELECT * FROM t;", table(self.header, (1, 2)), ["ERROR:  no"]), [UNSUPPORTED])

    def test_copy_out(self):
        self.assertEqual(kinds("COPY t TO stdout;", ["1\t2", "3\t4"], ["3\t4", "1\t2"]), [ORDER])
        self.assertEqual(kinds("COPY t TO stdout;", ["1\t2", "3\t4"], ["3\t4", "1\t5"]), [UNSUPPORTED])
        self.assertEqual(kinds("COPY (SELECT * FROM t ORDER BY 1) TO stdout;", ["1", "2"], ["2", "1"]), [UNSUPPORTED])


class TidsAndSizes(unittest.TestCase):
    def compare(self, statement, header, expected, result):
        return kinds(statement, table(header, *expected), table(header, *result))

    def test_tids(self):
        header = ("ctid", "a")
        self.assertEqual(self.compare("SELECT ctid, a FROM t;", header, [("(0,1)", 1)], [("(2,7)", 1)]), [CTID])
        self.assertEqual(self.compare("SELECT ctid, a FROM t;", header, [("(0,1)", 1)], [("(2,7)", 2)]), [UNSUPPORTED])
        self.assertEqual(self.compare("SELECT ctid, a FROM t;", header, [("(0,1)", 1)], [("", 1)]), [UNSUPPORTED])

    def test_points_are_no_tids(self):
        self.assertEqual(self.compare("SELECT p FROM t;", ("p",), [("(0,1)",)], [("(2,7)",)]), [UNSUPPORTED])

    def test_sizes(self):
        statement = "SELECT relname, relpages FROM pg_class;"
        self.assertEqual(self.compare(statement, ("relname", "relpages"), [("t", 3)], [("t", 1)]), [SIZE])
        self.assertEqual(self.compare(statement, ("relname", "count"), [("t", 3)], [("t", 1)]), [UNSUPPORTED])
        self.assertEqual(self.compare("SELECT count(*) FROM t;", ("relpages",), [(3,)], [(1,)]), [UNSUPPORTED])

    def test_companion_in_context(self):
        place = 'CONTEXT:  while updating tuple {} in relation "{}"'
        self.assertEqual(kinds("UPDATE t;", [place.format("(0,4)", "t")], [place.format("(0,1)", "pg_toast_123")]), [CONTEXT])
        self.assertEqual(kinds("UPDATE t;", ["ERROR:  a"], ["ERROR:  b"]), [UNSUPPORTED])
        self.assertEqual(kinds("UPDATE t;", [], ['CONTEXT:  SQL statement "x"']), [UNSUPPORTED])


class Plans(unittest.TestCase):
    def compare(self, expected, result, statement="EXPLAIN (COSTS OFF) SELECT * FROM t;"):
        return kinds(statement, table(("QUERY PLAN",), *zip(expected)), table(("QUERY PLAN",), *zip(result)))

    def test_our_scan(self):
        self.assertEqual(self.compare(["Seq Scan on t"], ["Custom Scan (ColumnarScan) on t"]), [PLAN])
        self.assertEqual(self.compare(["Seq Scan on t  (cost=0.00..1.00 rows=1 width=4)"],
                                      ["Custom Scan (ColumnarScan) on t  (cost=0.00..9.00 rows=7 width=4)", "  Columnar Stripes: 1"]), [PLAN])

    def test_another_plan(self):
        self.assertEqual(self.compare(["Seq Scan on t"], ["Index Scan using i on t"]), [PLAN_SHAPE])

    def test_wrong_number_of_rows(self):
        self.assertEqual(self.compare(["Seq Scan on t (actual rows=5 loops=1)"], ["Seq Scan on t (actual rows=4 loops=1)"]), [UNSUPPORTED])

    def test_error_instead_of_a_plan(self):
        self.assertEqual(kinds("EXPLAIN SELECT 1;", table(("QUERY PLAN",), ("Result",)), ["ERROR:  no"]), [UNSUPPORTED])

    def test_rows_beside_a_plan(self):
        plan, other = table(("QUERY PLAN",), ("Seq Scan on t",)), table(("QUERY PLAN",), ("Custom Scan (ColumnarScan) on t",))
        self.assertEqual(kinds("EXPLAIN SELECT 1;", plan + table(("a",), (1,)), other + table(("a",), (1,))), [PLAN])
        self.assertEqual(kinds("EXPLAIN SELECT 1;", plan + table(("a",), (1,)), other + table(("a",), (2,))), [PLAN, UNSUPPORTED])


class Scripts(unittest.TestCase):
    def test_statements(self):
        script = "SELECT 1; SELECT ';' -- ;\n;\nCREATE FUNCTION f() AS $$ a; b $$;\n\\d t\nSELECT 2 \\gset\nSELECT 3 \\; SELECT 4;"
        self.assertEqual([(s.text, s.last) for s in sqltext.split_statements(script)], [
            ("SELECT 1;", 0), ("SELECT ';' -- ;\n;", 1), ("CREATE FUNCTION f() AS $$ a; b $$;", 2), ("\\d t", 3),
            ("SELECT 2 \\gset", 4), ("SELECT 3 \\; SELECT 4;", 5)])

    def test_rule_actions_in_parentheses(self):
        script = "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);"
        self.assertEqual(len(sqltext.split_statements(script)), 1)

    def test_copy_data_is_skipped(self):
        script = "COPY t FROM stdin;\n1;'\n\\.\nSELECT 1;"
        self.assertEqual([(s.text, s.last) for s in sqltext.split_statements(script)], [("COPY t FROM stdin;", 0), ("SELECT 1;", 3)])

    def test_failed_copy_has_no_data(self):
        script = "COPY t FROM stdin;\nSELECT 1;\nCOPY t FROM stdin;\n1\n\\.\n"
        self.assertEqual([s.last for s in sqltext.split_statements(script, {0, 1, 2})], [0, 1, 2])

    def test_places(self):
        script = "SELECT a\nFROM t;\nSELECT b FROM t ORDER BY b;\n"
        def transcribe(first, second):
            lines = script.split("\n")
            return lines[:2] + table(("a",), *first) + lines[2:3] + table(("b",), *second)
        expected, result = transcribe([(1,), (2,)], [(1,), (2,)]), transcribe([(2,), (1,)], [(2,), (1,)])
        found = [compare(place) for place in transcript.regress_places(script, expected, result)]
        self.assertEqual([k for k in found if k], [[ORDER], [UNSUPPORTED]])

    def test_lost_output_is_seen(self):
        script = "SELECT a FROM t;\nSELECT 1;\n"
        expected = ["SELECT a FROM t;"] + table(("a",), (1,)) + ["SELECT 1;"] + table(("a",), (1,))
        result = ["SELECT a FROM t;"] + table(("a",), (1,)) + ["server closed the connection unexpectedly"]
        self.assertIn([UNSUPPORTED], [compare(place) for place in transcript.regress_places(script, expected, result)])


class Isolation(unittest.TestCase):
    head = ["Parsed test spec with 2 sessions", "", "starting permutation: s1 s2"]
    rows = ["a|b", "-+-", "1|2", "3|4", "(2 rows)", ""]
    turned = ["a|b", "-+-", "3|4", "1|2", "(2 rows)", ""]

    def kinds(self, expected, result):
        found = [compare(place) for place in transcript.isolation_places(self.head + expected, self.head + result)]
        return [k for k in found if k]

    def test_order(self):
        free, bound = "step s1: SELECT * FROM t;", "step s1: SELECT * FROM t ORDER BY a;"
        self.assertEqual(self.kinds([free] + self.rows, [free] + self.turned), [[ORDER]])
        self.assertEqual(self.kinds([bound] + self.rows, [bound] + self.turned), [[UNSUPPORTED]])

    def test_order_after_waiting(self):
        steps = ["step s1: SELECT * FROM t ORDER BY a FOR UPDATE; <waiting ...>", "step s2: COMMIT;", "step s1: <... completed>"]
        self.assertEqual(self.kinds(steps + self.rows, steps + self.turned), [[UNSUPPORTED]])

    def test_not_waiting(self):
        waits = ["step s1: UPDATE t; <waiting ...>", "step s2: COMMIT;", "step s1: <... completed>"]
        self.assertEqual(self.kinds(waits, ["step s1: UPDATE t;", "step s2: COMMIT;"]), [[UNSUPPORTED]])

    def test_missing_permutation(self):
        self.assertEqual(self.kinds(["step s1: COMMIT;", "", "starting permutation: s2 s1"], ["step s1: COMMIT;"]), [[UNSUPPORTED]])


if __name__ == "__main__":
    unittest.main()
