"""The umask of this process."""

from __future__ import annotations

import re
from pathlib import Path


def current_umask() -> int:
    """Return this process's umask without changing it, as ``os.umask`` would."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^Umask:\t(\d+)$", status, re.MULTILINE)[1], 8)
