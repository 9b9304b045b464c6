"""The SHA-256 of weights: a user's own file or folder, recorded files; cached by stat."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from rootstock.environments import digests
from rootstock.environments.digests import file_digest, folder_digest
from rootstock.environments.weights import WeightsFile, make_record, weights_digests, write_record
from rootstock.errors import WeightsError


@pytest.fixture
def folder(tmp_path):
    """Weights as some packages keep them: a configuration and two files of tensors."""
    folder = tmp_path / "my model"
    (folder / "parts").mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    (folder / "parts" / "a.pt").write_bytes(b"aaaa")
    (folder / "parts" / "b.pt").write_bytes(b"bbbb")
    return folder


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that were opened since, in order."""
    names = []
    original = Path.open

    def counting(self, *args, **kwargs):
        names.append(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counting)
    return names


def overwrite_unnoticed(path: Path, content: bytes) -> None:
    """Write as many bytes as before and restore the modification time, as ``cp -p`` may."""
    before = path.stat()
    assert before.st_size == len(content)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_files_digest_is_its_sha256(tmp_path):
    path = tmp_path / "mine.pt"
    path.write_bytes(b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    assert file_digest(path) == digest
    assert weights_digests(None, "mace", str(path)) == {str(path): digest}


def test_a_file_is_read_once_while_it_stays_the_same(tmp_path, opened):
    path = tmp_path / "mine.pt"
    path.write_bytes(b"mine")
    opened.clear()
    assert file_digest(path) == file_digest(path)
    assert opened == ["mine.pt"]


@pytest.mark.parametrize("content", [b"longer than before", b"same"])
def test_an_overwritten_file_has_another_digest(tmp_path, content):
    path = tmp_path / "mine.pt"
    path.write_bytes(b"mine")
    before = path.stat()
    assert file_digest(path) == hashlib.sha256(b"mine").hexdigest()
    path.write_bytes(content)
    later = before.st_mtime_ns + 10**9  # a file system's clock is coarser than this test
    os.utime(path, ns=(later, later))
    assert file_digest(path) == hashlib.sha256(content).hexdigest()


def test_a_file_that_takes_its_place_with_the_same_size_and_time(tmp_path):
    path, other = tmp_path / "mine.pt", tmp_path / "other.pt"
    path.write_bytes(b"mine")
    assert file_digest(path) == hashlib.sha256(b"mine").hexdigest()
    other.write_bytes(b"same")
    shutil.copystat(path, other)
    other.replace(path)
    assert file_digest(path) == hashlib.sha256(b"same").hexdigest()


def test_a_folder_has_one_digest(folder):
    digest = folder_digest(folder)
    assert len(digest) == 64
    assert weights_digests(None, "matgl", str(folder)) == {str(folder): digest}


def test_a_copy_of_a_folder_has_the_same_digest(folder, tmp_path):
    assert folder_digest(shutil.copytree(folder, tmp_path / "copy")) == folder_digest(folder)
    (tmp_path / "link").symlink_to(folder)
    assert folder_digest(tmp_path / "link") == folder_digest(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "parts" / "a.pt").write_bytes(b"aaaaa"),
        lambda folder: (folder / "model.json").rename(folder / "model.yaml"),
        lambda folder: (folder / "parts").rename(folder / "pieces"),
        lambda folder: (folder / "more.pt").write_bytes(b""),
        lambda folder: (folder / "parts" / "b.pt").unlink(),
        lambda folder: [
            (folder / "parts" / "a.pt").rename(folder / "c"),
            (folder / "parts" / "b.pt").rename(folder / "parts" / "a.pt"),
            (folder / "c").rename(folder / "parts" / "b.pt"),
        ],
    ],
    ids=["longer", "file renamed", "folder renamed", "added", "removed", "exchanged"],
)
def test_any_change_in_a_folder_changes_its_digest(folder, change):
    before = folder_digest(folder)
    change(folder)
    assert folder_digest(folder) != before


def test_a_change_that_keeps_size_and_time_is_seen(folder):
    path = folder / "parts" / "a.pt"
    before = folder_digest(folder)
    path.with_name("new").write_bytes(b"cccc")
    shutil.copystat(path, path.with_name("new"))
    path.with_name("new").replace(path)
    changed = folder_digest(folder)
    assert changed != before
    time.sleep(0.05)  # more than a tick of the file system's clock
    overwrite_unnoticed(path, b"dddd")
    assert folder_digest(folder) not in (before, changed)


def test_a_folder_is_read_once_while_it_stays_the_same(folder, opened):
    folder_digest(folder)
    assert sorted(opened) == ["a.pt", "b.pt", "model.json"]
    folder_digest(folder)
    assert len(opened) == 3
    (folder / "parts" / "a.pt").write_bytes(b"another")
    opened.clear()
    folder_digest(folder)
    assert opened == ["a.pt"]  # only what changed


def test_a_large_folder_is_cached_as_a_whole(tmp_path, opened):
    count = digests._digest.cache_info().maxsize + 10
    for number in range(count):
        (tmp_path / f"{number}.bin").write_bytes(b"")
    opened.clear()
    folder_digest(tmp_path)
    folder_digest(tmp_path)
    assert len(opened) == count


@pytest.mark.parametrize("name", ["a.pt.lock", "run.log", "x.pyc", ".locks/a", "b.incomplete"])
def test_what_libraries_write_beside_weights_does_not_count(folder, name):
    before = folder_digest(folder)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("locked")
    assert folder_digest(folder) == before


def test_links_inside_a_folder(folder, tmp_path, opened):
    (folder / "nowhere").symlink_to(tmp_path / "nothing")
    (folder / "loop").symlink_to(folder)
    before = folder_digest(folder)
    assert sorted(opened) == ["a.pt", "b.pt", "model.json"]  # none twice
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.pt").write_bytes(b"c")
    (folder / "linked").symlink_to(elsewhere)
    linked = folder_digest(folder)
    assert linked != before
    (elsewhere / "c.pt").write_bytes(b"other")  # what a model would read through the link
    assert folder_digest(folder) != linked


def test_a_pipe_in_a_folder_is_not_read(folder):
    before = folder_digest(folder)
    os.mkfifo(folder / "pipe")
    assert folder_digest(folder) == before


def test_an_empty_folder_and_odd_names(tmp_path):
    empty = folder_digest(tmp_path)
    (tmp_path / os.fsdecode(b"\xff\n.pt")).write_bytes(b"")
    assert folder_digest(tmp_path) != empty


def test_weights_that_cannot_be_read_are_an_error(folder, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    digests._digest.cache_clear()
    digests._digest_of_files.cache_clear()
    monkeypatch.setattr(Path, "open", refuse)
    for path in (folder, folder / "model.json"):
        with pytest.raises(WeightsError, match=r"can't be read: .*Permission denied"):
            weights_digests(None, "mace", str(path))


def test_fetched_files_have_the_digests_of_what_they_are_now(root):
    files = (WeightsFile("cache/a.pt", 4, "ab" * 32), WeightsFile("cache/gone.pt", 4, "cd" * 32))
    write_record(root, make_record("mace", "medium", "build", files))
    root.create()
    (root.path / "cache" / "a.pt").write_bytes(b"aaaa")
    now = hashlib.sha256(b"aaaa").hexdigest()
    assert weights_digests(root, "mace", "medium") == {
        "cache/a.pt": now,
        "cache/gone.pt": "cd" * 32,
    }


def test_weights_that_were_neither_fetched_nor_loaded_are_not_known(root):
    assert weights_digests(root, "mace", "small") is None
    assert weights_digests(None, "mace", "medium") is None
    assert weights_digests(root, "mace", "small", opened=()) == {}


def test_files_that_loading_opened_stand_for_weights_that_were_not_fetched(root, tmp_path):
    cache = root.path / "cache"
    cache.mkdir(parents=True)
    for name in ("a.pt", "a.pt.lock", "empty"):
        (cache / name).write_bytes(b"" if name == "empty" else b"aaaa")
    (tmp_path / "elsewhere.pt").write_bytes(b"aaaa")
    opened = [*cache.iterdir(), cache / "removed.pt", tmp_path / "elsewhere.pt"]
    digests = weights_digests(root, "mace", "small", opened=map(str, opened))
    assert digests == {"cache/a.pt": hashlib.sha256(b"aaaa").hexdigest()}


def test_paths_in_the_options_count(root, folder):
    path = folder / "model.json"
    digest = file_digest(path)
    options = {"a": "text", "b": [1, {"weights": str(path)}], "c": "model.json"}
    assert weights_digests(root, "mace", "small", options) == {str(path): digest}
    both = {str(path): digest, str(folder): folder_digest(folder)}
    assert weights_digests(root, "mace", str(folder), options) == both


@pytest.mark.parametrize("argument", ["", "model.json", "/no/such/file"])
def test_an_argument_that_is_no_path_has_no_digest(folder, monkeypatch, argument):
    monkeypatch.chdir(folder)
    assert weights_digests(None, "mace", argument, opened=()) == {}
