"""One cache for all threads, bounded in bytes."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoxr.io.cache import SharedCache


def array(number: int) -> np.ndarray:
    return np.zeros(number, "uint8")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60))), st.integers(1, 100))
def test_the_cache_never_holds_more_than_its_bytes(
    asked: list[tuple[int, int]], limit: int
) -> None:
    cache: SharedCache[np.ndarray] = SharedCache(lambda: limit)
    for key, size in asked:
        assert cache.get((key, size), lambda size=size: array(size)).size == size  # type: ignore[misc]
        kept = [cache.find(pair) for pair in set(asked)]
        assert cache.nbytes == sum(value.nbytes for value in kept if value is not None) <= limit
        assert (cache.find((key, size)) is None) == (size > limit)


def test_what_was_used_last_stays() -> None:
    cache: SharedCache[np.ndarray] = SharedCache(lambda: 30)
    for key in "abc":
        cache.get(key, lambda: array(10))
    cache.get("a", lambda: array(10))
    cache.get("d", lambda: array(10))
    assert [key for key in "abcd" if cache.find(key) is not None] == ["a", "c", "d"]


def test_what_many_threads_ask_for_is_made_once() -> None:
    cache: SharedCache[np.ndarray] = SharedCache(lambda: 1000)
    made = []

    def make() -> np.ndarray:
        made.append(threading.get_ident())
        time.sleep(0.02)
        return array(10)

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: cache.get("a", make), range(8)))
    assert len(made) == 1
    assert all(value is values[0] for value in values)


def test_an_error_is_not_kept() -> None:
    cache: SharedCache[np.ndarray] = SharedCache(lambda: 1000)

    def fail() -> np.ndarray:
        raise ValueError("no tile")

    with pytest.raises(ValueError, match="no tile"):
        cache.get("a", fail)
    assert cache.get("a", lambda: array(3)).size == 3
