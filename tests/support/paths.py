"""Paths that tests use."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
REPO = TESTS.parent
#: The environment file of the probe models, which most tests use.
PROBE = TESTS / "support" / "probe_env.py"
#: Evaluates a model directly, without Rootstock.
DIRECT = TESTS / "support" / "direct.py"
#: Programs that were installed with the test dependencies.
BIN = Path(sys.executable).parent
