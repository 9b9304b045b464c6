"""Records of fetched weights: found by layer, checked, linked and forgotten."""

from __future__ import annotations

import hashlib

import pytest

from rootstock.environments.weights import (
    Snapshot,
    WeightsFile,
    check,
    expose_weights,
    find_record,
    forget,
    make_record,
    records,
    require_weights,
    write_record,
)
from rootstock.errors import WeightsError
from rootstock.settings.root import Root

CONTENT = b"weights"
FILE = WeightsFile("cache/mace/a.pt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def add(root, argument="medium", files=(FILE,)):
    """Write weights and their record into the writable layer of a root."""
    for file in files:
        path = root.writable.path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    record = make_record("mace", argument, "build", tuple(files))
    write_record(root, record)
    return record


@pytest.fixture
def user_root(root, tmp_path):
    """The root as a user sees it who can only read it."""
    return Root(root.path, user_layer=tmp_path / "user layer")


@pytest.mark.parametrize("argument", ["", "medium", "../a path/b.pt", "x" * 300])
def test_a_record_is_found_by_its_argument(root, argument):
    record = add(root, argument)
    assert find_record(root, "mace", argument) == (root.shared, record)
    assert find_record(root, "mace", "another") is None
    assert records(root) == [(root.shared, record)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": [1]}', b'{"files": []}'])
def test_an_unreadable_record_counts_as_none(root, content):
    add(root)
    (path,) = root.path.rglob("medium.json")
    path.write_bytes(content)
    assert find_record(root, "mace", "medium") is None
    assert records(root) == []
    assert require_weights(root, "mace", "medium") is False


def test_the_user_layer_comes_first(root, user_root):
    shared = add(root)
    assert find_record(user_root, "mace", "medium") == (root.shared, shared)
    own = add(user_root, files=())
    assert find_record(user_root, "mace", "medium") == (user_root.writable, own)
    assert records(user_root) == [(user_root.writable, own), (root.shared, shared)]


def test_records_are_forgotten_in_the_writable_layer(root, user_root):
    shared = add(root)
    add(user_root)
    forget(user_root, "another")
    assert len(records(user_root)) == 2
    forget(user_root, "mace")
    assert records(user_root) == [(root.shared, shared)]
    assert (user_root.writable.path / FILE.path).exists()  # the weights stay


def test_files_that_changed_are_problems(root):
    other = WeightsFile("cache/mace/b.pt", len(CONTENT), FILE.sha256)
    record = add(root, files=(FILE, other))
    assert check(root.shared, record, deep=True) == []
    assert require_weights(root, "mace", "medium") is True
    (root.path / FILE.path).write_bytes(CONTENT[::-1])
    assert check(root.shared, record) == []
    (problem,) = check(root.shared, record, deep=True)
    assert problem == f"{root.path / FILE.path} does not match the recorded SHA-256"
    (root.path / FILE.path).write_bytes(b"short")
    (root.path / other.path).unlink()
    message = r"has 5 bytes instead of the recorded 7 \(and 1 more\).*rootstock fetch mace-medium"
    with pytest.raises(WeightsError, match=message):
        require_weights(root, "mace", "medium")


def test_a_snapshot_tells_which_weights_were_taken(root):
    root.create()
    for name in ("untouched", "opened", "changed"):
        (root.shared.cache / name).write_bytes(CONTENT)
    snapshot = Snapshot(root.shared)
    (root.shared.cache / "changed").write_bytes(CONTENT * 2)
    for name in ("new", "new.lock"):
        (root.shared.home / name).write_bytes(CONTENT)
    (root.shared.cache / "empty").touch()
    (root.shared.cache / "broken link").symlink_to("nowhere")
    taken = snapshot.taken([str(root.shared.cache / "opened"), "/etc/hostname"])
    assert [(file.path, file.size) for file in taken] == [
        ("cache/changed", 14),
        ("cache/opened", 7),
        ("home/new", 7),
    ]
    assert taken[1].sha256 == FILE.sha256


def test_shared_weights_are_linked_into_the_user_layer(root, user_root):
    add(root)
    link = user_root.writable.path / FILE.path
    link.parent.mkdir(parents=True)
    link.symlink_to("nowhere")  # what an earlier root left
    for _ in range(2):
        expose_weights(user_root, "mace", "medium")
        assert link.readlink() == root.path / FILE.path
    assert link.read_bytes() == CONTENT


@pytest.mark.parametrize("fetched", [True, False])
def test_own_weights_are_not_replaced_by_links(root, user_root, fetched):
    """Whether the user fetched them or a model downloaded them at first use."""
    add(root)
    add(user_root, "medium" if fetched else "another")
    expose_weights(user_root, "mace", "medium")
    assert not (user_root.writable.path / FILE.path).is_symlink()
