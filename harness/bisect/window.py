"""The smallest stretch of nodes that still differs when it is fed with what the first side computed before it."""

from collections.abc import Callable, Sequence

# Whether the sub-graph from the first to the last node differs.
Differs = Callable[[int, int], bool]


def smallest_window(steps: Sequence[int], last: int, differs: Differs) -> int | None:
    """The latest first node from which `last` differs; None if it does from no node on.

    The node alone is tried first, then stretches that double, then the gap is halved: O(log n) runs.
    """
    end = steps.index(last)
    size, failed = 1, end + 1
    while True:
        start = max(end + 1 - size, 0)
        if differs(steps[start], last):
            break
        if start == 0:
            return None
        failed = start
        size *= 2
    while failed - start > 1:
        middle = (start + failed) // 2
        if differs(steps[middle], last):
            start = middle
        else:
            failed = middle
    return steps[start]
