"""How far the input is read while the first structures take long."""

from __future__ import annotations

import itertools

from rootstock import evaluate
from rootstock.testing import fake_environment
from tests.support.fake_builds import root_with_fake_build
from tests.support.structures import copper


def test_a_pool_whose_first_structure_is_slow(tmp_path):
    root = root_with_fake_build(tmp_path, "fake", fake_environment().read_text())
    read = itertools.count()

    def structures():
        for number in read:
            atoms = copper(1)
            atoms.info["do"] = "nothing" if number else "sleep-3"
            yield atoms

    stream = evaluate(
        structures(),
        "fake-misbehaving",
        root=root,
        device="cpu",
        workers_per_device=2,
        exact=True,
        progress=False,
    )
    assert next(stream).index == 0
    stream.close()
    assert next(read) <= 2 * 64 + 64  # all but the first one are done in a moment
