"""The output of a model is kept, up to a limit."""

from __future__ import annotations

import os
import time

from tests.support.misbehaving import ask, works


def test_noise_is_capped_and_harmless(misbehaving):
    assert ask(misbehaving, "noise") == misbehaving.positions.sum()  # 20 MB
    time.sleep(0.6)
    assert works(misbehaving)
    output = os.stat(f"/proc/{misbehaving.calc.report.pid}/fd/1")
    assert output.st_size < 2**20
    assert "x" * 100 in misbehaving.calc.log
    assert len(misbehaving.calc.log) <= 2**16


def test_a_little_noise_in_each_of_many_short_calls_is_capped_too(misbehaving):
    """No single wait is as long as the pause between two looks at the log."""
    for _ in range(1000):
        misbehaving.positions += 1e-3
        ask(misbehaving, "some noise")
    time.sleep(0.6)
    assert works(misbehaving)
    assert os.stat(f"/proc/{misbehaving.calc.report.pid}/fd/1").st_size < 2**20
