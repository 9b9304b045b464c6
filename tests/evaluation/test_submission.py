"""How many chunks are submitted, and how large they are."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from rootstock.evaluation import submission
from rootstock.evaluation.submission import ChunkSize, Submitter
from tests.support.executors import InlineExecutor


def limit(executor, max_in_flight=None) -> int:
    return Submitter(executor, None, None, max_in_flight).limit


class Dask(InlineExecutor):
    """Looks like the executor of a client of dask, whose jobs start one after the other."""

    def __init__(self):
        super().__init__()
        self._client = self
        self.cores = {}

    def ncores(self):
        return self.cores


class Unconstrained(InlineExecutor):
    max_workers = None


def test_twice_as_many_chunks_as_workers():
    with ThreadPoolExecutor(3) as executor:
        assert limit(executor) == 6
        assert limit(executor, 5) == 5
    executor = InlineExecutor()
    executor.max_workers = 4
    assert limit(executor) == 8


@pytest.mark.parametrize("executor", [InlineExecutor(), Dask(), Unconstrained()])
def test_an_executor_that_does_not_say_how_many_workers_it_has(executor):
    assert limit(executor) == 2 * os.cpu_count()


def test_workers_that_start_later_are_counted(monkeypatch):
    executor = Dask()
    submitter = Submitter(executor, None, None, None)
    executor.cores = {"tcp://1": 1}
    assert submitter.limit == 2
    executor.cores = {"tcp://1": 1, "tcp://2": 2}
    assert submitter.limit == 2  # not asked for each chunk
    monkeypatch.setattr(submission, "_RECOUNT_SECONDS", 0.0)
    assert submitter.limit == 6


def structures_in(size: ChunkSize, natoms: int) -> int:
    number = 1
    while not size.is_full(number, number * natoms):
        number += 1
    return number


def test_chunks_are_small_at_first_and_grow_to_seconds_of_work():
    size = ChunkSize()
    assert structures_in(size, 10) == 12
    assert structures_in(size, 5000) == 1
    for _ in range(20):
        size.record(120, 0.120)  # 1 ms for an atom
    assert 5.0 <= structures_in(size, 50) * 0.050 <= 10.0
    assert structures_in(size, 20_000) == 1
    for _ in range(20):
        size.record(120, 1e-6)
    assert structures_in(size, 4) == 256
    assert structures_in(size, 4000) == 25  # 100,000 atoms
    for _ in range(20):
        size.record(120, 60.0)
    assert structures_in(size, 40) == 1
