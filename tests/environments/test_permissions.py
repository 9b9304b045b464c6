"""A warning where other users could change the code that runs."""

from __future__ import annotations

import shutil

import pytest

from rootstock import RootstockCalculator
from rootstock.errors import InsecureWarning
from tests.support.paths import PROBE


def test_world_writable_code_is_warned_of(built_probe_root, tmp_path):
    own = tmp_path / "own_env.py"
    shutil.copyfile(PROBE, own)
    own.chmod(0o666)
    with pytest.warns(InsecureWarning, match=r"own_env\.py is world-writable"):
        RootstockCalculator(environment=own, model="null", root=built_probe_root).close()
    own.chmod(0o664)
    # a group is trusted
    RootstockCalculator(environment=own, model="null", root=built_probe_root).close()
    tmp_path.chmod(0o777)
    with pytest.warns(InsecureWarning, match="chmod -R o-w"):
        RootstockCalculator(environment=own, model="null", root=built_probe_root).close()
    tmp_path.chmod(0o1777)
    RootstockCalculator(environment=own, model="null", root=built_probe_root).close()
    tmp_path.chmod(0o700)
