"""Collection spares the builds that running processes have pinned, and removes pins of dead ones.

The builds' interpreter passes on to the tests' own Python, so that no process seems to run in a
build: only the pins tell.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from rootstock import RootstockCalculator, StartupError
from rootstock.environments.discovery import find_environment
from rootstock.environments.pins import pin
from rootstock.maintenance.gc import collect, plan_collection
from rootstock.runtime.arguments import make_spec
from rootstock.runtime.session import Session
from rootstock.testing import fake_environment
from tests.support.fake_builds import add_fake_build
from tests.support.structures import copper

#: A process that uses a build: it pins it, or runs a session in it, until its stdin ends.
_USER = """
import sys
from dataclasses import replace
from rootstock import find_root
from rootstock.environments.discovery import find_environment
from rootstock.environments.pins import pin
from rootstock.runtime.arguments import make_spec
from rootstock.runtime.session import Session

root, how = find_root(sys.argv[1]), sys.argv[2]
if how == "pin":
    held = pin(find_environment("fake", root), "old")
else:
    session = Session(replace(make_spec("fake-null", root=root, device="cpu"), build="old"))
    session.report()
print("ready", flush=True)
sys.stdin.read()
if how == "pin":
    held.release()
else:
    session.close()
"""


@pytest.fixture
def environment(root):
    """An environment whose build ``old`` was replaced 40 days ago."""
    path = root.writable.environments / "fake_env.py"
    path.write_text(fake_environment().read_text())
    environment = find_environment("fake", root)
    add_fake_build(environment, "old", days=40)
    add_fake_build(environment, "new", days=40, current=True)
    return environment


def planned(root) -> dict[str, str]:
    """Return the reasons of a plan by the file's or folder's name."""
    return {item.path.name: item.reason for item in plan_collection(root)}


def pins(root) -> list[str]:
    return [path.name for path in (root.writable.records / "pins").glob("*")]


def start(root, how: str) -> subprocess.Popen:
    """Start a process that uses the build ``old``; return when it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", _USER, root.path, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_without_a_pin_a_replaced_build_is_removed(root, environment):
    assert planned(root) == {"old": "not current, older than 30 days"}


@pytest.mark.parametrize("how", ["pin", "session"])
def test_a_build_of_a_living_process_is_spared(root, environment, how):
    with start(root, how) as process:
        assert planned(root) == {}
        process.stdin.close()
        assert process.wait(20) == 0
    assert planned(root) == {"old": "not current, older than 30 days"}
    assert pins(root) == []


@pytest.mark.parametrize("how", ["pin", "session"])
def test_a_pin_of_a_killed_process_is_removed_with_its_build(root, environment, how):
    with start(root, how) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    (name,) = pins(root)
    plan = plan_collection(root)
    assert {item.path.name: item.reason for item in plan} == {
        "old": "not current, older than 30 days",
        name: "its process is gone",
    }
    assert collect(plan) == []
    assert pins(root) == []
    assert not (environment.writable.builds / "old").exists()
    assert (environment.writable.builds / "new").exists()
    assert plan_collection(root) == []


def test_of_two_users_the_living_one_counts(root, environment):
    with start(root, "pin") as process:
        process.kill()
        process.wait(20)
    held = pin(environment, "old")
    plan = plan_collection(root)
    assert [item.reason for item in plan] == ["its process is gone"]
    assert collect(plan) == []
    assert len(pins(root)) == 1  # the living one's
    held.release()
    assert pins(root) == []


def test_a_calculator_pins_while_it_has_a_worker(root, environment):
    spec = replace(make_spec("fake-null", root=root, device="cpu"), build="old")
    calc = RootstockCalculator("fake-null", root=root, device="cpu")
    calc._session.spec = spec
    assert pins(root) == []  # nothing was started
    calc.report
    assert len(pins(root)) == 1
    assert planned(root) == {}
    calc.close()
    assert pins(root) == []
    calc.get_potential_energy(copper())  # starts again, and pins again
    assert planned(root) == {}
    calc.close()


def test_a_worker_that_is_replaced_keeps_the_pin(root, environment):
    session = Session(replace(make_spec("fake-null", root=root, device="cpu"), build="old"))
    session.report()
    before = pins(root)
    session.stop()
    assert pins(root) == before
    assert planned(root) == {}
    session.close()
    assert pins(root) == []


def test_a_forked_child_leaves_the_parents_pin(root, environment):
    session = Session(replace(make_spec("fake-null", root=root, device="cpu"), build="old"))
    session.report()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            session.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert planned(root) == {}
    session.close()
    assert pins(root) == []


def test_a_start_that_fails_leaves_no_pin(root, environment):
    spec = make_spec("fake-null", root=root, device="cpu", setup_kwargs={"misbehaviour": "raise"})
    session = Session(replace(spec, build="old"))
    with pytest.raises(StartupError, match="raised on request"):
        session.report()
    session.close()
    assert pins(root) == []


def test_a_session_whose_build_was_collected_says_what_to_do(root, environment):
    spec = replace(make_spec("fake-null", root=root, device="cpu"), build="old")
    collect(plan_collection(root))
    message = (
        r"build old of the environment 'fake'.* is gone: .* has no build\. "
        r"Make a new calculator .*\(rootstock history fake\)"
    )
    with pytest.raises(StartupError, match=message):
        Session(spec).report()
    assert pins(root) == []
