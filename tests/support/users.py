"""Other users of this machine: tests that need root become one of them."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from tests.support.scripts import output_of

needs_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="becomes another user, gives files away, mounts, or takes the network away",
)


def as_nobody(code: str, folder: Path) -> None:
    """Run code as an unprivileged user that can import Rootstock."""
    nobody = pwd.getpwnam("nobody")
    for parent in [folder, *folder.parents][:-1]:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o055)
    output_of(
        "import sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "import ase.calculators.calculator, rootstock.calculator, rootstock.environments.build, uv\n"
        "import os\n"
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n" + code
    )
