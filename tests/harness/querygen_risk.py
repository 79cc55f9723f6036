"""Expressions of the query fuzzer that raise an error for some values."""


def risky(scope):
    """An expression over one column, and the SQLSTATEs that it may raise."""
    column = scope.column("int", "int", "numeric", "float", "text", "date", "timestamp") or scope.columns[0]
    c = column.sql
    choices = {
        "int": ((f"{c} + {c} + {c}", ("22003",)), (f"{c} * {c} * {c}", ("22003",)), (f"100 / ({c} % 50)", ("22012",)),
                (f"{c}::int2", ("22003",)), (f"1000 % {c}", ("22012",)), (f"abs({c})", ("22003",)), (f"- {c}", ("22003",)),
                (f"sqrt({c}::float8)", ("2201F",)), (f"{c}::int4 * 100000", ("22003",)), (f"{c} / -1", ("22003",))),
        "numeric": ((f"1 / {c}", ("22012",)), (f"{c}::int4", ("22003", "0A000")), (f"{c}::int8 + 1", ("22003", "0A000")),
                    (f"{c}::numeric(6,2)", ("22003",)), (f"sqrt({c})", ("2201F",)), (f"{c} % trunc({c} / 10)", ("22012",)), (f"ln({c})", ("2201E",))),
        "float": ((f"{c} * 1e300", ("22003",)), (f"{c}::int4", ("22003",)), (f"1 / {c}", ("22012", "22003")), (f"{c}::float4", ("22003",)),
                  (f"sqrt({c})", ("2201F",)), (f"{c}::int8", ("22003",)), (f"{c}::numeric(8,2)", ("22003",))),
        "text": ((f"{c}::int", ("22P02", "22003")), (f"{c}::numeric", ("22P02", "22003")), (f"substr({c}, 1, length({c}) - 2)", ("22011",)),
                 (f"{c}::date", ("22007", "22008", "22009")), (f"{c}::bool", ("22P02",)), (f"decode({c}::text, 'hex')", ("22023",))),
        "date": ((f"{c} - '2001-01-01'::date", ("22008",)), (f"{c} + 2147483647", ("22008",)),
                 (f"to_char({c}, 'YYYY')::int4 / (extract(day FROM {c})::int4 - 15)", ("22012", "22P02", "22003", "0A000"))),
        "timestamp": ((f"{c} + '290000 years'::interval", ("22008",)), (f"100 / (extract(month FROM {c})::int - 5)", ("22012",))),
    }
    return scope.random.choice(choices[column.family])
