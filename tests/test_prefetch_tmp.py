"""Reading one item ahead: to be merged into test_loop.py."""

import pytest

from skae._loop import prefetch


def test_prefetch_keeps_the_order_and_stays_one_ahead():
    made = []

    def numbers():
        for i in range(10):
            made.append(i)
            yield i

    seen = []
    for number in prefetch(numbers()):
        seen.append(number)
        assert len(made) <= number + 3
    assert seen == list(range(10))


def test_prefetch_of_nothing_is_nothing():
    assert list(prefetch(iter([]))) == []


def test_prefetch_passes_errors_on():
    def broken():
        yield 1
        raise OSError("cannot read rows 256 to 511")

    stream = prefetch(broken())
    assert next(stream) == 1
    with pytest.raises(OSError, match="rows 256"):
        next(stream)
