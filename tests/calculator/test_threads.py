"""One calculator in several threads."""

from __future__ import annotations

import concurrent.futures
import threading
import time

import pytest

from tests.support.structures import copper


def test_threads_are_serialised(make):
    calc = make("probe-misbehaving")
    wrong = []

    def work(number: int) -> None:
        for turn in range(20):
            atoms = copper(1 + number % 3)
            atoms.positions += number + turn
            atoms.calc = calc
            if atoms.get_potential_energy() != atoms.positions.sum():
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_worker_outlives_the_thread_that_started_it(make):
    calc = make("probe-misbehaving")
    thread = threading.Thread(target=calc.calculate, args=(copper(),))
    thread.start()
    thread.join()
    pid = calc.report.pid
    time.sleep(0.2)
    calc.calculate(copper(1))
    assert calc.report.pid == pid


def test_cancelled_futures_and_one_whose_result_times_out(make):
    calc = make("probe-misbehaving")
    slow, quick = copper(1), copper(1)
    slow.info["do"] = "sleep-1"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = pool.submit(calc.get_potential_energy, slow)
        waiting = [pool.submit(calc.get_potential_energy, quick) for _ in range(6)]
        time.sleep(0.2)
        cancelled = [future.cancel() for future in waiting]
        with pytest.raises(concurrent.futures.TimeoutError):
            running.result(timeout=0.1)
        expected = quick.positions.sum()
        for future, was_cancelled in zip(waiting, cancelled, strict=True):
            if not was_cancelled:
                assert future.result() == pytest.approx(expected)
        assert any(cancelled)
        assert running.result() == pytest.approx(slow.positions.sum())
    assert calc.get_potential_energy(quick) == pytest.approx(expected)
