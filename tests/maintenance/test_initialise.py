"""Making a root, for one user or for a group."""

from __future__ import annotations

import os
import stat

import pytest

from rootstock import find_root
from rootstock.environments.build import prepare_environment
from rootstock.maintenance.doctor import doctor
from rootstock.maintenance.initialise import initialise_root
from tests.support.builds import QUIET
from tests.support.command_line import as_json, run
from tests.support.environment_files import add_to_root
from tests.support.users import needs_root

pytestmark = pytest.mark.model


def test_init_makes_the_folders_and_may_be_repeated(tmp_path):
    for _ in range(2):
        shown = as_json("init", "--root", tmp_path / "root")
        assert shown == {"root": str(tmp_path / "root"), "group": None}
    names = {p.name for p in (tmp_path / "root").iterdir()}
    assert names == {"environments", "envs", "cache", "home"}


@needs_root
def test_init_for_a_group(tmp_path):
    import grp

    name = next(entry.gr_name for entry in grp.getgrall() if entry.gr_gid != os.getgid())
    root = initialise_root(find_root(tmp_path / "root"), name)
    assert root.shared.is_group_shared
    for folder in (root.path, root.writable.environments, root.shared.cache):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
        assert grp.getgrgid(folder.stat().st_gid).gr_name == name
    file = add_to_root(root, dependencies="")
    file.writable.source.chmod(0o664)
    built = prepare_environment(file, QUIET)
    record = built.python.parent.parent / "rootstock.json"
    assert record.stat().st_mode & 0o060 == 0o060  # other maintainers can change it
    assert record.stat().st_gid == root.path.stat().st_gid
    assert not [f for f in doctor(root) if f.topic == "permissions"]
    root.shared.cache.chmod(0o2775 | 0o002)
    (finding,) = [f for f in doctor(root) if f.topic == "permissions"]
    assert finding.level == "problem" and finding.fix.startswith("chmod -R o-w")
    root.shared.cache.chmod(0o2770)
    (finding,) = [f for f in doctor(root) if f.topic == "permissions"]
    assert "can't be read by all users" in finding.detail
    result = run("init", "--root", tmp_path / "other", "--shared", "no-such-group")
    assert result.exit_code == 2 and "there is no group" in result.stderr
