"""Campaigns that end early: killed, terminated, out of space. Nothing that was reported is lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import ase.db
import numpy as np
import pytest
from ase.build import bulk

from rootstock import evaluate
from rootstock.errors import OutputError
from rootstock.evaluation.database import Database
from rootstock.testing import FakeEvaluator
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS
from tests.support.processes import wait_for_no_workers
from tests.support.scripts import output_of
from tests.support.users import needs_root

#: Forks a campaign and kills it, again and again, in the same store.
KILLING = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from ase.build import bulk
from rootstock import evaluate
from rootstock.evaluation.database import Database
from rootstock.testing import FakeEvaluator

path, kills = Path(sys.argv[1]), int(sys.argv[2])
random.seed(int(sys.argv[3]))

def structures():
    for seed in range(100_000):
        atoms = bulk("Cu", cubic=True)
        atoms.info["seed"] = seed // 2  # each one twice
        yield atoms

def results(structure):
    return {"energy": 1.0, "forces": np.ones((4, 3), np.float32), "stress": np.zeros(6)}

def campaign(out):
    for evaluation in evaluate(structures(), FakeEvaluator(results), store=path, progress=False):
        assert evaluation.ok
        os.write(out, b"%d\\n" % evaluation.index)

reported = stored = 0
for _ in range(kills):
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        campaign(theirs)
        os._exit(1)
    os.close(theirs)
    time.sleep(random.uniform(0.0, 0.35))
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    with open(ours) as stream:
        lines = stream.read().splitlines()
    reported = max(reported, len(lines))
    assert lines == [str(n) for n in range(len(lines))]
    with Database(path, write=True) as database:
        def ask(query): return database.execute(query).fetchone()[0]
        assert ask("PRAGMA integrity_check") == "ok"
        if ask("SELECT count(*) FROM models"):
            assert ask("SELECT count(*) FROM inputs") >= reported
            assert ask("SELECT count(*) FROM inputs WHERE position < %d" % reported) == reported
            assert ask("SELECT count(*) FROM inputs WHERE key NOT IN (SELECT key FROM results)") == 0
            now = ask("SELECT count(*) FROM results")
            assert stored <= now == ask("SELECT count(*) FROM systems")
            assert now == ask("SELECT count(DISTINCT row) FROM results")
            stored = now
print(reported, stored)
"""


@pytest.mark.parametrize("seed", [1])
def test_sigkill_at_50_random_moments(tmp_path, seed):
    reported, stored = map(int, output_of(KILLING, tmp_path / "results.db", 50, seed).split())
    assert stored > 200 and reported > 400
    assert [p.name for p in tmp_path.iterdir()] == ["results.db"]
    with ase.db.connect(tmp_path / "results.db") as database:
        assert len(database) == stored


CAMPAIGN = """
import signal, sys
from pathlib import Path
from ase.build import bulk
from rootstock import evaluate
from rootstock.settings.root import Root
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
root = Root(Path(sys.argv[1]), user_layer=Path(sys.argv[2]))
def structures():
    for seed in range(3000):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        yield atoms
if __name__ == "__main__":
    for e in evaluate(structures(), "springs-slow", root=root, device="cpu", store=sys.argv[3], exact=True, progress=False):
        print(e.index, int(e.stored), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_host_with_workers(tmp_path, number):
    """The worker ends too, and a second process goes on from there."""
    text = (TESTS / "support" / "batch_env.py").read_text()
    root = root_with_fake_build(tmp_path, "springs", text)
    path, reported = tmp_path / "results.db", []
    command = [sys.executable, "-c", CAMPAIGN, root.path, root.user_layer, path]
    for count in (20, 40):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            known = 0
            for line in process.stdout:
                index, stored = map(int, line.split())
                assert stored == (index < len(reported))
                known += 1
                if known == count:
                    process.send_signal(number)
        assert process.returncode not in (0, None)
        reported = range(known)
        assert wait_for_no_workers()
    with Database(path, write=False) as database:
        (rows,) = database.execute("SELECT count(*) FROM results").fetchone()
    assert rows >= len(reported) >= 40


def crystals(number):
    images = []
    for seed in range(number):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        images.append(atoms)
    return images


def fake():
    return FakeEvaluator(
        lambda structure: {
            "energy": float(structure.positions.sum()),
            "forces": structure.positions.astype(np.float32),
            "stress": np.zeros(6),
        }
    )


@needs_root
def test_a_full_disk(tmp_path):
    """What was reported is there when there is space again."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", mount], check=True)
    path, reported = mount / "results.db", []
    try:
        with pytest.raises(OutputError, match=r"results\.db can't be written: the disk is full"):
            reported.extend(evaluate(crystals(2000), fake(), store=path, progress=False))
        with pytest.raises(OutputError, match="the disk is full"):
            reported.extend(evaluate(crystals(2000), fake(), store=path, progress=False))
        subprocess.run(["mount", "-o", "remount,size=40m", mount], check=True)
        found = list(evaluate(crystals(300), fake(), store=path, progress=False))
        assert sum(e.stored for e in found) >= len({e.index for e in reported}) > 10
        for one, other in zip(found, evaluate(crystals(300), fake(), progress=False)):
            assert one.results["energy"] == other.results["energy"]
    finally:
        subprocess.run(["umount", mount], check=True)
