"""Chunks of structures that wait: those of lost workers come back."""

from __future__ import annotations

import itertools
import threading
import time

import rootstock
from rootstock.evaluation.backlog import Backlog
from rootstock.evaluation.chunk import Wanted
from rootstock.evaluation.engine import Item
from rootstock.evaluation.policy import Policy
from rootstock.structures import from_atoms
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS
from tests.support.structures import copper


def test_a_worker_waits_for_what_another_one_may_return():
    policy = Policy(Wanted(("energy",), required=True), None, exact=True)
    backlog = Backlog(2)
    backlog.add([Item(0, from_atoms(copper()))])
    backlog.complete()
    (item,) = backlog.take(policy).items
    taken = []
    other = threading.Thread(target=lambda: taken.append(backlog.take(policy)))
    other.start()
    other.join(0.3)
    assert other.is_alive()
    backlog.put_back([item])  # the first worker is lost
    other.join(5)
    assert taken[0].items == (item,)
    backlog.put_back([])
    assert backlog.take(policy) is None


def test_a_slow_iterator_does_not_keep_workers_waiting(tmp_path):
    root = root_with_fake_build(
        tmp_path, "springs", (TESTS / "support" / "batch_env.py").read_text()
    )

    def slow():
        for _ in itertools.count():
            time.sleep(0.1)
            yield copper()

    begun = time.monotonic()
    stream = rootstock.evaluate(slow(), "springs", root=root, device="cpu", progress=False)
    assert next(stream).ok
    stream.close()
    assert time.monotonic() - begun < 20  # a window of 4,096 structures would take 400 s
