"""Which tests of a suite to run, in upstream's own order and grouping."""

import pathlib

HERE = pathlib.Path(__file__).parent

# What nearly every other file of the regression suite builds upon (src/test/regress/parallel_schedule says so).
BASE = ["test_setup", "create_misc", "create_aggregate", "create_function_c", "create_index"]

# Further files that one file needs, from the comments of parallel_schedule and from trying.
NEEDS = {
    "multirangetypes": ["rangetypes"],
    "geometry": ["point", "lseg", "line", "box", "path", "polygon", "circle"],
    "horology": ["date", "time", "timetz", "timestamp", "timestamptz", "interval"],
    "amutils": ["geometry", "create_index_spgist", "hash_index", "brin"],
    "psql": ["create_am"],
    "select_views": ["create_view"],
    "brin_multi": ["brin"],
    "brin_bloom": ["brin"],
    "copy2": ["create_type"],
}


def read_schedule(path):
    """The groups of a schedule file, each a list of test names."""
    groups = []
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith("test:"):
            groups.append(line.removeprefix("test:").split())
    return groups


def read_subset(suite, groups):
    """The names in the committed list for continuous integration; `old|new` is a test that a major renamed."""
    known = {name for group in groups for name in group}
    lines = (HERE / f"subset.{suite}.txt").read_text(encoding="utf-8").splitlines()
    words = [word.split("|") for line in lines for word in line.partition("#")[0].split()]
    return [next((name for name in names if name in known), names[0]) for names in words]


def with_needs(suite, names):
    """`names` and all that they build upon."""
    if suite != "regress":
        return set(names)
    wanted, todo = set(BASE), list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += NEEDS.get(name, [])
    return wanted


def select(groups, wanted):
    """The groups reduced to the wanted tests, and the wanted tests that no group has."""
    chosen = [[name for name in group if name in wanted] for group in groups]
    known = {name for group in groups for name in group}
    return [group for group in chosen if group], sorted(set(wanted) - known)


def write_schedule(path, groups):
    pathlib.Path(path).write_text("".join(f"test: {' '.join(group)}\n" for group in groups), encoding="utf-8")
