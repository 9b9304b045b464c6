"""Switching between builds by one rename."""

from __future__ import annotations

import shutil

import pytest

from rootstock import BuildError
from rootstock.environments.builds import current_build, switch
from tests.support.environment_files import add_to_root
from tests.support.fake_builds import add_fake_build


@pytest.fixture
def paths(root):
    """The paths of an environment with the builds ``old`` and ``new``, which is current."""
    root.create()
    environment = add_to_root(root)
    add_fake_build(environment, "old", days=40)
    add_fake_build(environment, "new", days=40, current=True)
    return environment.writable


def test_another_build_becomes_current_and_the_age_of_the_replaced_counts_from_now(paths):
    ages = {name: (paths.builds / name).stat().st_mtime for name in ("old", "new")}
    assert switch(paths, "old") == current_build(paths.builds)
    assert current_build(paths.builds).id == "old"
    assert (paths.builds / "old").stat().st_mtime == ages["old"]
    assert (paths.builds / "new").stat().st_mtime > ages["new"]
    assert not list(paths.builds.glob(".*"))


@pytest.mark.parametrize("vanished", ["folder", "interpreter", "record"])
def test_a_build_that_vanished_is_an_error(paths, vanished):
    folder = paths.builds / "old"
    if vanished == "folder":
        shutil.rmtree(folder)
    else:
        (folder / {"interpreter": "bin/python", "record": "rootstock.json"}[vanished]).unlink()
    with pytest.raises(BuildError, match="old was removed before it could become the current"):
        switch(paths, "old")
    assert current_build(paths.builds).id == "new"
