from concurrent.futures import ThreadPoolExecutor

import pytest

from gradproof.engines import Engine, serial


def test_chunks_are_taken_one_after_the_other() -> None:
    taken: list[int] = []

    def square(chunk: int) -> int:
        taken.append(chunk)
        return chunk**2

    results = serial(square, iter([1, 2, 3]))
    assert taken == []
    assert list(results) == [1, 4, 9]
    assert taken == [1, 2, 3]
    assert list(serial(square, [])) == []


def test_an_exception_comes_out_where_it_happened() -> None:
    def fail_at_two(chunk: int) -> int:
        if chunk == 2:
            raise KeyError(chunk)
        return chunk

    results = iter(serial(fail_at_two, [1, 2, 3]))
    assert next(results) == 1
    with pytest.raises(KeyError):
        next(results)


def test_map_and_pools_of_threads_are_engines() -> None:
    with ThreadPoolExecutor(2) as pool:
        engines: list[Engine] = [serial, map, pool.map]
        for engine in engines:
            assert list(engine(abs, [-1, 2, -3])) == [1, 2, 3]
