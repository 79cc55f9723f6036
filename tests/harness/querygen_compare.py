"""Comparing what a query of the fuzzer returned on two sides."""

from collections import Counter


def difference(query, heap, other):
    """None if the outcomes agree as far as SQL determines them, else what differs."""
    if heap.error or other.error:
        return _errors(query, heap, other)
    if len(heap.rows) != len(other.rows):
        return f"{len(heap.rows)} rows, {len(other.rows)} rows\n" + _only(heap.rows, other.rows)
    if heap.rows == other.rows:
        return None
    approximate = [index for index, item in enumerate(query.items) if item.tolerance is not None]
    if not approximate:
        if query.ordered:
            first = next(index for index, pair in enumerate(zip(heap.rows, other.rows)) if pair[0] != pair[1])
            return f"row {first + 1}:\n  heap  {heap.rows[first]}\n  other {other.rows[first]}\n" + _only(heap.rows, other.rows)
        return _only(heap.rows, other.rows) if Counter(heap.rows) != Counter(other.rows) else None
    left, right = heap.rows, other.rows
    if not query.ordered:
        left, right = (sorted(rows, key=lambda row: _sorting(row, approximate)) for rows in (left, right))
    for first, second in zip(left, right):
        for index, pair in enumerate(zip(first, second)):
            if pair[0] != pair[1] and not (index in approximate and near(query.items[index], *pair)):
                return f"column {index + 1}:\n  heap  {first}\n  other {second}"
    return None


def _errors(query, heap, other):
    codes = [outcome.error[0] if outcome.error else None for outcome in (heap, other)]
    if codes[0] == codes[1] or (None not in codes and set(codes) <= set(query.codes)):
        return None
    return f"heap:  {str(heap)[:1000]}\nother: {str(other)[:1000]}"


def _sorting(row, approximate):
    # Rows with equal exact columns lie in the order of the others, which are near each other if all is well.
    exact = tuple((value is None, value or "") for index, value in enumerate(row) if index not in approximate)
    return exact, tuple((row[index] is None, float(row[index] or 0)) for index in approximate)


def near(item, first, second):
    """Whether two floats are the same but for the order of additions."""
    if first is None or second is None:
        return False
    a, b = float(first), float(second)
    if not abs(a) < float("inf") or not abs(b) < float("inf"):
        return False
    if item.squares:
        a, b = a * a, b * b
    return abs(a - b) <= item.tolerance + 1e-12 * max(abs(a), abs(b))


def _only(heap, other, most=5):
    lines = []
    for name, rows in (("only heap ", Counter(heap) - Counter(other)), ("only other", Counter(other) - Counter(heap))):
        lines += [f"  {name} {str(row)[:600]}" for row in list(rows.elements())[:most]]
    return "\n".join(lines) or "  the same rows in another order"
