"""Random typed expressions of the query fuzzer that raise no error, whatever order they are evaluated in."""

from .querygen_condition import LIMITS, Conditions, Expr, merged


class Expressions(Conditions):
    """Writes expressions over the columns in scope."""

    # Expressions

    def any(self, depth=2):
        """An expression of any family, more likely of one that has columns."""
        return self.of(self.column().family, depth)

    def of(self, family, depth=2):
        """An expression of a family."""
        if depth <= 0 or self.maybe(0.35):
            return self.leaf(family)
        if self.maybe(0.25):
            return self._choice(family, depth - 1)
        made = {"int": self._int, "float": self._float, "numeric": self._numeric, "text": self._text, "bool": self._bool, "date": self._date,
                "timestamp": self._timestamp, "timestamptz": self._timestamptz, "interval": self._interval, "bytea": self._bytea}.get(family)
        return made(depth - 1) if made else self.leaf(family)

    def pair(self, family, depth):
        """Two expressions of a family whose collations do not clash."""
        left, right = self.of(family, depth), self.of(family, depth)
        if left.collation and right.collation and left.collation != right.collation:
            right = right.but(sql=f'({right.sql} COLLATE "C")', collation='"C"')
        return left, right

    def _choice(self, family, depth):
        a, b = self.pair(family, depth)
        if self.maybe(0.15):
            return a.but(sql=f"nullif({a.sql}, {b.sql})", collation=a.collation or b.collation)
        sql = self.random.choice((f"CASE WHEN {self.condition(depth)} THEN {a.sql} ELSE {b.sql} END", f"coalesce({a.sql}, {b.sql})",
                                  f"greatest({a.sql}, {b.sql})", f"least({a.sql}, {b.sql})", f"CASE WHEN {self.condition(depth)} THEN {a.sql} END"))
        return merged(sql, a, b)

    def _int(self, depth):
        r = self.random
        other = r.random()
        if other < 0.15:
            text = self.of("text", depth)
            return Expr(r.choice((f"length({text.sql})", f"octet_length({text.sql})", f"position('a' IN {text.sql})")), "int", "int4", 10**7)
        if other < 0.2 and (day := self.column("date")) and day.tame:
            return Expr(f"({day.sql} - '2001-01-01'::date)", "int", "int4", 10**8)
        if other < 0.25:
            return Expr(f"({self.condition(depth)})::int", "int", "int4", 1)
        a, b = self.of("int", depth), self.of("int", depth)
        wide = max(a.type, b.type)
        op = r.choice("+-*/%&|#nacmgt")
        if op == "g":
            # The guard keeps the cast or the division from rows that it would fail for.
            return Expr(f"CASE WHEN {a.sql} BETWEEN -32768 AND 32767 THEN {a.sql}::int2 END", "int", "int2", 2**15)
        if op == "t" and (text := self.column("text")):
            return Expr(f"CASE WHEN {text.sql} ~ '^[0-9]{{1,9}}$' THEN {text.sql}::int ELSE 0 END", "int", "int4", 10**9)
        if op in "+-*":
            bound = a.bound * b.bound if op == "*" else a.bound + b.bound
            if bound > LIMITS["int8"]:
                return a
            fits = bound <= LIMITS[wide]
            return Expr(f"({a.sql}{'' if fits else '::int8'} {op} {b.sql})", "int", wide if fits else "int8", bound)
        if op == "m":
            return Expr(f"({a.sql} % {r.choice((2, 3, 7, 100))})", "int", max(a.type, "int4"), 100)
        if op in "&|#":
            return Expr(f"({a.sql} {op} {b.sql})", "int", wide, LIMITS[wide] + 1)
        if a.bound > LIMITS[a.type]:
            return a
        if op in "/t":
            return Expr(f"({a.sql} / {r.choice((3, 10, -7))})", "int", max(a.type, "int4"), a.bound)
        if op == "%":
            return Expr(f"({a.sql} {r.choice('/%')} nullif({b.sql}, 0))", "int", wide, LIMITS[wide] + 1)
        if op == "c":
            to = r.choice([name for name, limit in LIMITS.items() if a.bound <= limit])
            return Expr(f"{a.sql}::{to}", "int", to, a.bound)
        return Expr(f"abs({a.sql})" if op == "a" else f"(- {a.sql})", "int", a.type, a.bound)

    def _float(self, depth):
        r = self.random
        if self.maybe(0.2):
            source = self.leaf(r.choice(("int", "numeric")))
            known = source.family == "int" and source.bound < 1e12
            return Expr(f"{source.sql}::float8", "float", "float8", source.bound if known else None, source.tame)
        a, b = self.of("float", depth), self.of("float", depth)
        op = r.choice("+-*/*nasrf")
        if op in "+-*/" and not a.wild and not b.wild:
            wide = max(a.type, b.type)
            cast = "::float8" if wide == "float4" and op in "*/" else ""
            known = a.bound is not None and b.bound is not None
            if op in "+-":
                return Expr(f"({a.sql} {op} {b.sql})", "float", wide, a.bound + b.bound if known else None, a.tame and b.tame)
            if known and a.bound * b.bound < 1e60:
                divisor = b.sql if op == "*" else f"nullif({b.sql}, 0)"
                return Expr(f"({a.sql}{cast} {op} {divisor})", "float", "float8", a.bound * b.bound if op == "*" else None, a.tame and b.tame)
        if op == "s" and not a.wild:
            return Expr(f"sqrt(abs({a.sql}))", "float", "float8", None, a.tame)
        if op in "rf" and not a.wild:
            return Expr(f"{r.choice(('round', 'floor', 'ceil', 'trunc', 'sign'))}({a.sql})", "float", "float8", None, a.tame)
        return a.but(sql=f"abs({a.sql})" if op == "a" else f"(- {a.sql})", pool=())

    def _numeric(self, depth):
        r = self.random
        if self.maybe(0.2):
            source = self.of("int", depth)
            return Expr(f"{source.sql}::numeric", "numeric", "numeric", float(source.bound))
        moment = self.column("timestamp", "timestamptz", "date", "interval")
        if self.maybe(0.15) and moment:
            units = ("year", "month", "day", "epoch") + ("hour", "dow", "week", "second") * (moment.family not in ("date", "interval"))
            return Expr(f"extract({r.choice(units)} FROM {moment.sql})", "numeric", "numeric", 1e13, moment.tame)
        a, b = self.of("numeric", depth), self.of("numeric", depth)
        op, tame = r.choice("+-*/%+-*rtnacdg"), a.tame and b.tame
        if op == "g":
            return Expr(f"CASE WHEN {b.sql} <> 0 THEN {a.sql} / {b.sql} ELSE {a.sql} END", "numeric", "numeric", float("inf"), tame)
        if op in "+-":
            return Expr(f"({a.sql} {op} {b.sql})", "numeric", "numeric", a.bound + b.bound, tame)
        if op == "*" and a.bound * b.bound < 1e300:
            return Expr(f"({a.sql} * {b.sql})", "numeric", "numeric", a.bound * b.bound, tame)
        if op in "/%":
            # What a small divisor makes of it has no bound worth knowing.
            return Expr(f"({a.sql} {op} nullif({b.sql}, 0))", "numeric", "numeric", float("inf"), tame)
        if op == "d":
            return Expr(f"({a.sql} / {r.choice((3, '10.00', '0.7'))})", "numeric", "numeric", a.bound * 2, a.tame)
        if op == "c" and a.tame and a.bound < 1e15:
            return Expr(f"{a.sql}::numeric(20,{r.choice((0, 1, 4))})", "numeric", "numeric", a.bound + 1)
        if op in "rt":
            return Expr(f"{r.choice(('round', 'trunc'))}({a.sql}, {r.choice((0, 1, 2, -1))})", "numeric", "numeric", a.bound + 10, a.tame)
        return a.but(sql=f"({r.choice(('abs', '-', 'floor', 'ceil', 'trim_scale'))}({a.sql}))", type="numeric", bound=a.bound + 1, pool=())

    def _text(self, depth):
        r = self.random
        if self.maybe(0.15):
            source = self.column()
            if source.family == "caseless":
                return Expr(f'({source.sql} COLLATE "C")', "text", "text", collation='"C"')
            return Expr(f"{source.sql}::text", "text", "text", collation=source.collation)
        a, b = self.pair("text", depth)
        n = r.randrange(6)
        sql = r.choice((f"upper({a.sql})", f"lower({a.sql})", f"left({a.sql}, {n})", f"right({a.sql}, {n})", f"substr({a.sql}, {n + 1}, 3)",
                        f"replace({a.sql}, 'a', 'bb')", f"reverse({a.sql})", f"lpad({a.sql}, 8, '*')", f"btrim({a.sql})", f"md5({a.sql})",
                        f"initcap({a.sql})",
                        f"split_part({a.sql}, ' ', 1)", f"translate({a.sql}, 'aeo', 'x')", f"regexp_replace({a.sql}, '[0-9]+', '#')"))
        if self.maybe(0.3):
            return merged(r.choice((f"({a.sql} || {b.sql})", f"concat({a.sql}, '-', {b.sql})")), a, b).but(type="text")
        return Expr(sql, "text", "text", collation=a.collation)

    def _bool(self, depth):
        return Expr(f"({self.condition(depth)})", "bool", "bool")

    def _date(self, depth):
        a = self.of("date", depth)
        moment = self.column("timestamp", "timestamptz")
        if moment and self.maybe(0.3):
            return Expr(f"{moment.sql}::date", "date", "date", tame=moment.tame)
        return a.but(sql=f"({a.sql} + {self.random.choice((1, -30, 365))})", pool=())

    def _timestamp(self, depth):
        r = self.random
        day, other = self.column("date"), self.column("timestamptz")
        if day and self.maybe(0.2):
            return Expr(r.choice((f"{day.sql}::timestamp", f"({day.sql} + '1 mon'::interval)")), "timestamp", "timestamp", tame=day.tame)
        if other and self.maybe(0.2):
            zone = r.choice(("UTC", "Asia/Tokyo", "America/New_York"))
            return Expr(f"({other.sql} AT TIME ZONE '{zone}')", "timestamp", "timestamp", tame=other.tame)
        return self._moved(self.of("timestamp", depth))

    def _timestamptz(self, depth):
        return self._moved(self.of("timestamptz", depth))

    def _moved(self, a):
        unit = self.random.choice(("year", "month", "week", "day", "hour", "minute"))
        step = self.random.choice(("1 day", "-1 mon", "36:00:00", "1 year 3 days"))
        sql = self.random.choice((f"date_trunc('{unit}', {a.sql})", f"({a.sql} + '{step}'::interval)", f"({a.sql} - '{step}'::interval)"))
        return a.but(sql=sql, pool=())

    def _interval(self, depth):
        r = self.random
        moment = self.column("timestamp", "timestamptz")
        if moment and moment.tame and self.maybe(0.5):
            return Expr(f"({moment.sql} - '2019-12-31 23:59:59'::{moment.type})", "interval", "interval")
        a = self.of("interval", depth)
        return a.but(sql=r.choice((f"({a.sql} * {r.choice((2, -1))})", f"({a.sql} + '1 day'::interval)", f"justify_hours({a.sql})")), pool=())

    def _bytea(self, depth):
        a = self.of("bytea", depth)
        return a.but(sql=self.random.choice((f"({a.sql} || '\\x00'::bytea)", f"substr({a.sql}, 2, 3)", f"decode(md5({a.sql}), 'hex')")), pool=())
