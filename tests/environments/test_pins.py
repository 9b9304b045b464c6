"""Pins: who uses a build, on this machine and on others."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rootstock.environments.environment import Environment
from rootstock.environments.pins import pin, pinned_builds, stale_pins
from rootstock.settings.root import Root, find_root
from tests.support.environment_files import add_to_root
from tests.support.fake_builds import add_fake_build
from tests.support.users import as_nobody, needs_root


@pytest.fixture
def environment(root):
    """An environment with two builds, the second in use."""
    environment = add_to_root(root)
    add_fake_build(environment, "old")
    add_fake_build(environment, "new", current=True)
    return environment


def pin_files(layer) -> list[Path]:
    return sorted(layer.records.rglob("*.json"))


def change(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_pin_names_its_build_until_it_is_released(environment):
    layer = environment.writable.layer
    held = pin(environment, "old")
    assert held.is_held
    assert pinned_builds(layer) == {environment.writable.builds / "old"}
    assert stale_pins(layer) == []
    held.release()
    held.release()
    assert not held.is_held
    assert pinned_builds(layer) == set()
    assert pin_files(layer) == []


def test_two_pins_of_one_process_are_two(environment):
    layer = environment.writable.layer
    first, second = pin(environment, "old"), pin(environment, "old")
    first.release()
    assert pinned_builds(layer) == {environment.writable.builds / "old"}
    second.release()
    assert pinned_builds(layer) == set()


def test_a_detached_pin_stays_on_disk(environment):
    held = pin(environment, "old")
    held.detach()
    held.release()
    assert pinned_builds(environment.writable.layer) == {environment.writable.builds / "old"}


def test_a_build_that_is_gone_is_not_pinned(environment):
    assert not pin(environment, "nothing").is_held
    assert pin_files(environment.writable.layer) == []


def test_a_pin_of_a_dead_process_is_stale(environment):
    layer = environment.writable.layer
    held = pin(environment, "old")
    (path,) = pin_files(layer)
    change(path, pid=dead_pid())
    assert pinned_builds(layer) == set()
    assert stale_pins(layer) == [path]
    held.release()


def test_a_pin_of_another_users_process_counts(environment, monkeypatch):
    def refuse(pid, signal):
        raise PermissionError

    layer = environment.writable.layer
    held = pin(environment, "old")
    monkeypatch.setattr(os, "kill", refuse)
    assert len(pinned_builds(layer)) == 1
    assert stale_pins(layer) == []
    held.release()


def test_a_pin_of_another_machine_counts_for_a_month(environment):
    layer = environment.writable.layer
    held = pin(environment, "old")
    (path,) = pin_files(layer)
    change(path, host="another-node", pid=dead_pid())  # this machine can't tell if it lives
    assert len(pinned_builds(layer)) == 1
    assert stale_pins(layer) == []
    long_ago = time.time() - 31 * 86_400
    os.utime(path, (long_ago, long_ago))
    assert pinned_builds(layer) == set()
    assert stale_pins(layer) == [path]
    held.release()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"host": "a", "pid": 1}', "\udcff"])
def test_a_file_that_is_no_pin_is_left_alone(environment, text):
    layer = environment.writable.layer
    path = layer.records / "pins" / "odd.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert pinned_builds(layer) == set()
    assert stale_pins(layer) == []


def test_a_process_id_that_no_machine_has_is_stale(environment):
    layer = environment.writable.layer
    held = pin(environment, "old")
    (path,) = pin_files(layer)
    change(path, pid=10**30)
    assert stale_pins(layer) == [path]
    held.release()


def test_a_root_that_is_reached_by_two_paths(environment, tmp_path):
    """A file system that is mounted twice, or a link to it."""
    (tmp_path / "link").symlink_to(environment.root.path)
    other = find_root(tmp_path / "link")
    held = pin(environment, "old")
    (path,) = pinned_builds(other.writable)
    assert path == other.writable.builds / "my" / "old"
    held.release()


def test_pins_of_a_group_shared_root_are_writable_by_the_group(environment):
    layer = environment.writable.layer
    layer.environments.chmod(0o2775)
    before = os.umask(0o077)
    try:
        held = pin(environment, "old")
        assert os.umask(0o077) == 0o077  # the process's own again
    finally:
        os.umask(before)
    (path,) = pin_files(layer)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o777 == 0o775
    held.release()


def test_pins_of_ones_own_root_follow_the_umask(environment):
    before = os.umask(0o077)
    try:
        held = pin(environment, "old")
    finally:
        os.umask(before)
    (path,) = pin_files(environment.writable.layer)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    held.release()


def test_a_layer_that_cannot_be_written_has_no_pin(environment):
    layer = environment.writable.layer
    shutil.rmtree(layer.records, ignore_errors=True)
    layer.records.write_text("a file where the folder would be")
    held = pin(environment, "old")
    assert not held.is_held
    held.release()


def test_the_pin_lies_in_the_layer_that_holds_the_build(environment, tmp_path):
    layered = Root(environment.root.path, user_layer=tmp_path / "user layer")
    held = pin(Environment.of(environment.file, layered), "old")
    assert pin_files(layered.writable) == []
    assert pinned_builds(layered.shared) == {environment.writable.builds / "old"}
    held.release()


@needs_root
def test_a_user_who_can_only_read_the_root(environment, tmp_path):
    as_nobody(
        "from rootstock import find_root\n"
        "from rootstock.environments.discovery import find_environment\n"
        "from rootstock.environments.pins import pin\n"
        f"root = find_root({str(environment.root.path)!r})\n"
        "assert root.is_read_only\n"
        "held = pin(find_environment('my', root), 'old')\n"
        "assert not held.is_held\n"
        "held.release()\n",
        tmp_path,
    )
    assert pin_files(environment.writable.layer) == []
