"""Removing what is not used any more."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from rootstock.environments.build import prepare_environment
from rootstock.environments.build_lock import build_lock
from rootstock.maintenance.gc import collect, plan_collection
from tests.support.builds import QUIET
from tests.support.command_line import as_json, run
from tests.support.environment_files import add_to_root

pytestmark = pytest.mark.model


def test_collection(root):
    file = add_to_root(root, dependencies='"six==1.16.0"')
    old = prepare_environment(file, QUIET)
    prepare_environment(add_to_root(root, dependencies='"six==1.17.0"'), QUIET)
    builds = file.writable.builds
    (builds / ".building-dead").mkdir()
    (root.shared.cache / "orphan").mkdir()
    assert {item.path.name for item in plan_collection(root)} == {".building-dead"}
    assert {i.path.name for i in plan_collection(root, caches=True)} == {".building-dead", "orphan"}
    with subprocess.Popen([old.python, "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(0.3)
        assert {i.path.name for i in plan_collection(root, days=0)} == {".building-dead"}
        process.stdin.close()
    plan = plan_collection(root, days=0)
    assert {i.path.name for i in plan} == {".building-dead", old.build.id}
    assert as_json("gc", "--days", "0", "--dry-run", "--root", root.path)["removed"] is False
    assert old.python.exists()
    found = as_json("gc", "--days", "0", "--yes", "--root", root.path)
    assert found["removed"] and len(found["items"]) == 2 and not found["failed"]
    assert not old.python.exists()
    assert not plan_collection(root, days=0)
    assert collect(plan) == []  # what is gone already is no failure
    with build_lock(file.writable, QUIET):  # what a living builder has is no leftover
        (builds / ".building-alive").mkdir()
        assert not plan_collection(root, days=0)
    shutil.rmtree(builds / ".building-alive")


def test_uninstall(root):
    file = add_to_root(root, dependencies="")
    prepare_environment(file, QUIET)
    found = as_json("uninstall", "my", "--root", root.path)["paths"]
    assert len(found) == 3
    assert not any(root.path.rglob("*my*"))
    done = run("uninstall", "chgnet", "--root", root.path)
    assert done.exit_code == 2 and "is not installed" in done.stderr
