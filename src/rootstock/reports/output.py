"""Writing a report to a file."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Union

from ..errors import ConfigurationError, OutputError
from ..support.files import explain
from .data import as_csv, as_json
from .page import as_html

if TYPE_CHECKING:
    from ..workflows.comparison import Comparison

__all__ = ["FORMATS", "check_output", "write", "write_csv", "write_html", "write_json"]

#: Suffixes that a comparison can be written to.
FORMATS = (".html", ".json", ".csv")
_PACKAGES = ("jinja2", "matplotlib")

AnyPath = Union[str, os.PathLike[str]]


def check_output(path: AnyPath) -> None:
    """Find out before the work whether a report can be written.

    Raises
    ------
    ConfigurationError
        The suffix is not one of :data:`FORMATS`, or a package that HTML needs is missing.
    OutputError
        The folder does not exist, or it can't be written to.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        msg = f"{path} must end with one of {', '.join(FORMATS)}"
        raise ConfigurationError(msg)
    if path.suffix == ".html":
        _require_packages()
    target = path if path.exists() else path.absolute().parent
    if path.is_dir() or not target.exists() or not os.access(target, os.W_OK):
        missing = "the folder does not exist" if not target.exists() else "permission denied"
        reason = "it is a folder" if path.is_dir() else missing
        msg = f"{path} can't be written: {reason}. Choose another file with -o"
        raise OutputError(msg)


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        msg = (
            f"an HTML report needs {' and '.join(missing)}: run pip install '.[report]' in a copy "
            "of Rootstock's repository, or write .json or .csv"
        )
        raise ConfigurationError(msg)


def write(comparison: Comparison, path: AnyPath) -> None:
    """Write a comparison; the suffix of the file decides the format, see :data:`FORMATS`.

    Raises
    ------
    ConfigurationError, OutputError
        As for :func:`check_output`, or the disk is full.
    """
    check_output(path)
    path = Path(path)
    make = {".html": as_html, ".json": as_json, ".csv": as_csv}[path.suffix]
    _write_text(path, make(comparison))


def write_html(comparison: Comparison, path: AnyPath) -> None:
    """Write one self-contained HTML page: no network, nothing beside the file."""
    _require_packages()
    _write_text(Path(path), as_html(comparison))


def write_json(comparison: Comparison, path: AnyPath) -> None:
    """Write everything as JSON; numbers that JSON lacks become null."""
    _write_text(Path(path), as_json(comparison))


def write_csv(comparison: Comparison, path: AnyPath) -> None:
    """Write a row for each structure and model as CSV, with units in the names of the columns."""
    _write_text(Path(path), as_csv(comparison))


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{path} can't be written: {explain(error)}. Choose another file with -o"
        raise OutputError(msg) from error
