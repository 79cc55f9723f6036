"""Random aggregates of the query fuzzer, and how exactly their results are determined."""

from dataclasses import dataclass

from .querygen_condition import COMPARISONS, normal

#: Families whose values have a least one.
MINIMAL = ("int", "float", "numeric", "text", "date", "timestamp", "timestamptz", "interval")


@dataclass(frozen=True)
class Item:
    """An output column; a tolerance says how far two results may be apart because floats were added in another order."""

    sql: str
    tolerance: float = None
    #: Whether the tolerance is one of squares, as for a standard deviation.
    squares: bool = False


class Aggregates:
    """Aggregates over a scope. Without `ordered` the rows have no total order, so that nothing depends on one."""

    def __init__(self, scope, ordered=True):
        self.scope, self.random, self.ordered = scope, scope.random, ordered

    def items(self, count):
        """So many aggregates."""
        return [self.item() for _ in range(count)]

    def condition(self):
        """A condition for HAVING."""
        number = self.scope.of("int", 1)
        r = self.random
        return r.choice((f"count(*) > {r.choice((0, 1, 3))}", f"min({number.sql}) {r.choice(COMPARISONS)} {self.scope.constant(number)}",
                         f"count({number.sql}) <> 1", f"bool_or({self.scope.condition(1)})", f"sum({number.sql}) IS NOT NULL",
                         f"max({number.sql}) - count(*) > 0" if number.bound < 2**62 else "count(*) < 50"))

    def item(self):
        """One aggregate, now and then of the rows that a condition is true of."""
        filtered = f" FILTER (WHERE {self.scope.condition(1)})" if self.random.random() < 0.2 else ""
        made = self.random.choices((self._count, self._sum, self._float, self._least, self._spread, self._truth, self._list, self._distinct),
                                   (4, 6, 3, 5, 2, 1, 1, 2))[0](filtered)
        return made or Item(f"count(*){filtered}")

    def _count(self, filtered):
        return Item(f"{self.random.choice(('count(*)', f'count({self.scope.any(1).sql})'))}{filtered}")

    def _sum(self, filtered):
        r = self.random
        expr = self.scope.of(r.choice(("int", "int", "numeric", "numeric", "interval")), 2)
        call = f"{r.choice(('sum', 'sum', 'avg'))}({expr.sql}){filtered}"
        if expr.family != "interval" and r.random() < 0.15:
            return Item(r.choice((f"{call} * 2", f"{call} / nullif(count(*), 0)", f"round({call}, 2)", f"coalesce({call}, 0) + count(*)")))
        return Item(call)

    def _float(self, filtered):
        r = self.random
        expr = self.scope.of("float", 1)
        if expr.bound is None or expr.wild or expr.bound > 1e60:
            return None
        function = r.choice(("sum", "sum", "avg", "var_pop", "stddev", "stddev_samp", "variance", "var_samp"))
        # Ten times the expected rows: keys may be skewed.
        rows, bound = 10 * self.scope.rows + 1000, expr.bound
        if function == "sum":
            return Item(f"sum({expr.sql}){filtered}", rows * bound * (rows * 1.2e-7 if expr.type == "float4" else 1e-12))
        if function == "avg":
            return Item(f"avg({expr.sql}){filtered}", 1e-12 * bound)
        return Item(f"{function}({expr.sql}){filtered}", 1e-11 * bound ** 2, function.startswith("stddev"))

    def _least(self, filtered):
        expr = self.scope.any(1)
        if expr.family not in MINIMAL:
            return None
        return Item(normal(expr, f"{self.random.choice(('min', 'max'))}({expr.sql}){filtered}"))

    def _spread(self, filtered):
        expr = self.scope.of(self.random.choice(("int", "numeric")), 1)
        if expr.bound > 1e30:
            return None
        return Item(f"{self.random.choice(('stddev', 'stddev_pop', 'var_pop', 'variance', 'var_samp'))}({expr.sql}){filtered}")

    def _truth(self, filtered):
        if self.random.random() < 0.4:
            return Item(f"{self.random.choice(('bit_and', 'bit_or'))}({self.scope.of('int', 1).sql}){filtered}")
        return Item(f"{self.random.choice(('bool_and', 'bool_or', 'every'))}({self.scope.condition(1)}){filtered}")

    def _list(self, filtered):
        if not self.ordered:
            return None
        order = ", ".join([self.scope.any(0).sql, *self.scope.identity])
        return Item(self.random.choice((f"md5(string_agg(left({self.scope.any(1).sql}::text, 20), ',' ORDER BY {order}){filtered})",
                                        f"(array_agg({self.scope.any(1).sql} ORDER BY {order}){filtered})[1:3]")))

    def _distinct(self, filtered):
        r = self.random
        expr = self.scope.any(1)
        if expr.family in ("int", "numeric") and r.random() < 0.5:
            # Which of several equal values is added, and with it the scale of the sum, is not determined.
            return Item(f"trim_scale(sum(DISTINCT {expr.sql}){filtered}::numeric)")
        return Item(f"count(DISTINCT {expr.sql}){filtered}")
