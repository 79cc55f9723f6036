#!/usr/bin/env python3
"""Classifies how the results of PostgreSQL's suites differ from what upstream expects.

    tests/upstream/classify.py OUTPUT SOURCE SUITE MAJOR [TEST ...]

OUTPUT is a run's directory (with results/), SOURCE upstream's src/test/<suite>. Prints one row per differing
test and writes every difference to OUTPUT/differences.txt. Exits with 1 if a test has more places with an
unsupported difference than known.<major>.txt grants it.
"""

import difflib
import pathlib
import sys
from collections import Counter

import differences
import transcript

HERE = pathlib.Path(__file__).parent


def read_lines(path):
    # Some scripts speak other encodings on purpose: bytes that are not UTF-8 have to survive.
    return pathlib.Path(path).read_text(encoding="utf-8", errors="surrogateescape").split("\n")


def expected_files(source, name):
    directory = pathlib.Path(source) / "expected"
    paths = [directory / f"{name}.out"] + [directory / f"{name}_{i}.out" for i in range(10)]
    return [path for path in paths if path.exists()]


def result_file(output, name):
    return pathlib.Path(output) / "results" / f"{name}.out"


def passes(output, source, name):
    """Whether the result is, byte for byte, one of the expected files."""
    result = result_file(output, name)
    return result.exists() and any(result.read_bytes() == path.read_bytes() for path in expected_files(source, name))


def failed_tests(output, source, names):
    return [name for name in names if not passes(output, source, name)]


def places_of(suite, source, name, expected, result):
    if suite == "isolation":
        return transcript.isolation_places(expected, result)
    script = (pathlib.Path(source) / "sql" / f"{name}.sql").read_text(encoding="utf-8", errors="surrogateescape")
    return transcript.regress_places(script, expected, result)


def classify_test(output, source, suite, name):
    """The differing places of a test as (place, kinds), against the expected file that fits best."""
    path = result_file(output, name)
    if not path.exists():
        return [(transcript.Place("no result", [], [], []), [differences.UNSUPPORTED])]
    result = read_lines(path)
    best = None
    for expected in map(read_lines, expected_files(source, name)):
        found = differing_places(places_of(suite, source, name, expected, result))
        weight = sum(changed_lines(place) for place, _ in found)
        if best is None or weight < best[0]:
            best = weight, found
    return best[1] if best else [(transcript.Place("no expected file", [], [], result), [differences.UNSUPPORTED])]


def changed_lines(place):
    expected, result = Counter(place.expected), Counter(place.result)
    return (expected - result).total() + (result - expected).total()


def differing_places(places):
    found, earlier, shown = [], [], []
    for place in places:
        kinds = differences.compare(place, earlier, shown)
        if kinds:
            found.append((place, kinds))
        earlier += place.statements
        shown.append(place.expected)
    return found


def read_known(major, suite, path=None):
    """The granted number of unsupported places per test, from lines `suite test places reason`."""
    path = path or HERE / f"known.{major}.txt"
    known = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(maxsplit=3)
        if len(words) != 4 or not words[2].isdigit():
            sys.exit(f"classify: {path}:{number}: expected SUITE TEST PLACES REASON")
        if words[0] == suite:
            known[words[1]] = int(words[2])
    return known


def describe(name, place, kinds):
    changes = difflib.unified_diff(place.expected, place.result, "expected", "result", lineterm="", n=2)
    statement = "\n".join(place.statements)
    return "\n".join([f"== {name}, {place.name}: {', '.join(kinds)}", statement, *changes, ""])


def report(output, source, suite, major, names):
    """Prints the table; returns whether some test has more unsupported places than granted."""
    known, worse, details = read_known(major, suite), [], []
    print(f"{'test':<32}" + "".join(f"{kind:>12}" for kind in differences.KINDS))
    failed = failed_tests(output, source, names)
    totals = Counter()
    for name in failed:
        found = classify_test(output, source, suite, name)
        counts = Counter(kind for _, kinds in found for kind in kinds)
        totals += counts
        print(f"{name:<32}" + "".join(f"{counts[kind] or '':>12}" for kind in differences.KINDS))
        details += [describe(name, place, kinds) for place, kinds in found]
        if counts[differences.UNSUPPORTED] > known.get(name, 0):
            worse.append(f"{name}: {counts[differences.UNSUPPORTED]} unsupported places, {known.get(name, 0)} are known")
        elif counts[differences.UNSUPPORTED] < known.get(name, 0):
            print(f"  known.{major}.txt grants {name} more than it needs")
    print(f"{'all':<32}" + "".join(f"{totals[kind] or '':>12}" for kind in differences.KINDS))
    pathlib.Path(output, "differences.txt").write_text("\n".join(details), encoding="utf-8", errors="surrogateescape")
    for line in worse:
        print(f"worse: {line}")
    print(f"classify: {len(names) - len(failed)} of {len(names)} tests of {suite} {major} as expected, {len(failed)} differ, "
          f"{len(worse)} beyond the known list")
    return bool(worse)


def main(arguments):
    if len(arguments) < 4:
        sys.exit(__doc__)
    output, source, suite, major, *names = arguments
    names = names or sorted(path.stem for path in (pathlib.Path(output) / "results").glob("*.out"))
    return 1 if report(output, source, suite, major, names) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
