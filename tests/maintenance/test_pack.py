"""Environments in an archive, for machines without a network."""

from __future__ import annotations

import pytest

from rootstock import ConfigurationError, find_root
from rootstock.environments.discovery import find_environment
from rootstock.maintenance.fetch import fetch
from rootstock.maintenance.pack import pack, unpack
from rootstock.maintenance.status import status
from tests.support.builds import QUIET
from tests.support.command_line import run
from tests.support.environment_files import add_to_root
from tests.support.scripts import output_of
from tests.support.users import needs_root

pytestmark = pytest.mark.model


NO_NETWORK = """
import socket, sys
from rootstock import RootstockCalculator, find_root
from rootstock.maintenance.pack import unpack
from pathlib import Path
from ase.build import bulk
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError:
    pass
else:
    sys.exit("there is a network")
root = find_root(sys.argv[2])
unpack(Path(sys.argv[1]), root)
atoms = bulk("Cu")
with RootstockCalculator("probe-downloads", root=root, device="cpu") as calc:
    atoms.calc = calc
    print(atoms.get_potential_energy(), calc.spec.offline)
"""


@needs_root
def test_a_pack_runs_where_there_is_no_network(user_layer, tmp_path):
    fetch("probe-downloads", root=user_layer)
    archive = tmp_path / "probe.tar"
    models = pack(find_environment("probe", user_layer), archive, QUIET)
    assert models == ["probe-downloads"]
    assert not list(tmp_path.glob(".*"))
    elsewhere = tmp_path / "node local disk"
    assert output_of(NO_NETWORK, archive, elsewhere, before=["unshare", "-n"]) == "0.0 True\n"
    assert (elsewhere / "cache" / "probe" / "weights.bin").read_bytes() == b"w" * 1000
    assert [h.state for h in status(find_root(elsewhere))] == ["ready", "fetched"]


def test_invalid_archives(root, tmp_path):
    path = tmp_path / "x.tar"
    result = run("unpack", path, "--root", root.path)
    assert result.exit_code == 2 and "there is no archive" in result.stderr
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="is not an archive"):
        unpack(path, root, QUIET)
    with pytest.raises(ConfigurationError, match="is not built"):
        pack(add_to_root(root, dependencies=""), path, QUIET)
    assert not list((root.path / "envs").glob(".building*"))
