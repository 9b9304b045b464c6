"""Removing unused builds, caches and files that builds left."""

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


def test_unused_builds_and_caches_are_removed(root):
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
    removal = as_json("gc", "--days", "0", "--yes", "--root", root.path)
    assert removal["removed"] and len(removal["items"]) == 2 and not removal["failed"]
    assert not old.python.exists()
    assert not plan_collection(root, days=0)
    assert collect(plan) == []  # removed already, which is not a failure
    with build_lock(file.writable, QUIET):  # the directory of a running build is kept
        (builds / ".building-alive").mkdir()
        assert not plan_collection(root, days=0)
    shutil.rmtree(builds / ".building-alive")


def test_uninstall(root):
    file = add_to_root(root, dependencies="")
    prepare_environment(file, QUIET)
    paths = as_json("uninstall", "my", "--root", root.path)["paths"]
    assert len(paths) == 3
    assert not any(root.path.rglob("*my*"))
    result = run("uninstall", "chgnet", "--root", root.path)
    assert result.exit_code == 2 and "is not installed" in result.stderr
