"""Find and run uv; errors contain its output."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Optional

from packaging.version import InvalidVersion, Version

from ..errors import BuildError
from ..support.processes import ChildProcess
from ..support.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .options import BuildOptions

__all__ = ["UNCONSTRAINED", "Interpreter", "Uv", "uv_flags"]

#: Variables of the caller's Python, environments and projects, which uv would otherwise use.
_SCRUBBED = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "UV_PROJECT",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
)
#: Seconds for uv to tidy up when it is interrupted.
_GRACE = 3.0
#: For :meth:`Uv.run`: unsets the variables that change a resolution. They are already in the lock;
#: ``uv pip sync`` would refuse it or deviate from it.
UNCONSTRAINED: Mapping[str, None] = MappingProxyType(
    dict.fromkeys(("UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT", "UV_TORCH_BACKEND"))
)
#: Part of uv's warning about an invalid ``[tool.uv]``.
_UNPARSED = "during settings discovery"
#: Lines not worth showing: activation hints, packages that the lock lists, errors that are raised.
_CHATTER = ("Activate with", " + ", " - ", " ~ ", "error:", "  cause:", "hint:")


@dataclass(frozen=True)
class Interpreter:
    """A Python on this machine."""

    version: Version
    path: str

    @property
    def minor(self) -> str:
        """Major and minor version, such as ``"3.12"``."""
        return f"{self.version.major}.{self.version.minor}"


class Uv:
    """Runs uv, whose own variables (``UV_FIND_LINKS``, ``UV_OFFLINE``, ...) keep their meaning.

    Parameters
    ----------
    progress : Progress
        Shows uv's lines.
    umask : int
        The umask that uv writes with; -1 keeps the caller's.
    """

    def __init__(self, progress: Progress, umask: int = -1) -> None:
        self._progress = progress
        self._umask = umask
        self._binary = _find()

    def run(
        self,
        arguments: Sequence[str | Path],
        purpose: str,
        *,
        directory: Optional[Path] = None,
        variables: Mapping[str, Optional[str]] = MappingProxyType({}),
        quiet: bool = False,
    ) -> str:
        """Run uv and return its stdout.

        Parameters
        ----------
        arguments : sequence
            Command-line arguments of uv.
        purpose : str
            Task that errors name, such as "resolving the dependencies of ...".
        directory : Path, optional
            Working directory; its ``pyproject.toml`` holds the settings.
        variables : mapping
            Further environment variables; None unsets a variable.
        quiet : bool
            Do not show its lines.

        Raises
        ------
        BuildError
            uv failed; its output is in the message and in ``output``.
        """
        given = {**os.environ, **dict.fromkeys(_SCRUBBED), **variables}
        environ = {name: value for name, value in given.items() if value is not None}
        environ["PATH"] = os.pathsep.join([environ.get("PATH", os.defpath), *_pyenv_pythons()])
        try:
            child = ChildProcess(
                [self._binary, "--color=never", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=directory,
                env=environ,
                umask=self._umask,
            )
        except OSError as error:
            msg = f"uv could not be started while {purpose}: {error}. Reinstall it: pip install uv"
            raise BuildError(msg) from error
        with child:
            status, output, errors = _followed(child, Progress() if quiet else self._progress)
        if status is None:
            msg = (
                f"uv's exit status while {purpose} is unknown, because this process ignores "
                "SIGCHLD. Run 'rootstock install' in a separate shell"
            )
            raise BuildError(msg)
        # uv only warns about settings that it can't parse, and then ignores all of them
        if status != 0 or _UNPARSED in errors:
            printed = errors.strip() or output.strip()
            msg = f"uv failed while {purpose}. uv's output:\n{printed}"
            raise BuildError(msg, printed)
        return output

    def interpreters(self) -> list[Interpreter]:
        """Return the CPythons on this machine, the newest of each minor version, newest first.

        Pre-releases and free-threaded builds are left out, because model packages rarely support
        them.
        """
        output = self.run(
            ["python", "list", "--only-installed", "--output-format", "json"],
            "looking for Pythons",
            quiet=True,
        )
        newest: dict[str, Interpreter] = {}
        for entry in json.loads(output):
            try:
                candidate = Interpreter(Version(entry["version"]), entry["path"])
            except InvalidVersion:
                continue
            plain = entry["implementation"] == "cpython" and entry["variant"] == "default"
            if plain and not candidate.version.is_prerelease:
                best = newest.get(candidate.minor)
                if best is None or best.version < candidate.version:
                    newest[candidate.minor] = candidate
        return sorted(newest.values(), key=lambda i: i.version, reverse=True)

    def ask_index(self) -> None:
        """Check that the configured package index responds; bypasses all caches.

        Raises
        ------
        BuildError
            The index does not respond.
        """
        with tempfile.TemporaryDirectory() as folder:
            requirements = Path(folder, "requirements.in")
            requirements.write_text("pip\n")
            self.run(
                ["pip", "compile", requirements, "--no-cache", "--no-deps", "--quiet"],
                "asking the package index",
                quiet=True,
                variables={**UNCONSTRAINED, "UV_HTTP_RETRIES": "0"},
            )

    def version(self) -> str:
        """Return uv's version."""
        return self.run(["--version"], "asking for its version", quiet=True).split()[1]


def _followed(child: ChildProcess, progress: Progress) -> tuple[Optional[int], str, str]:
    """Show stderr line by line while uv runs; return exit status, stdout and stderr."""
    output: list[str] = []
    errors: list[str] = []
    stdout, stderr = child.popen.stdout, child.popen.stderr
    assert stdout is not None  # noqa: S101  PIPE was asked for
    assert stderr is not None  # noqa: S101
    reader = threading.Thread(target=lambda: output.append(stdout.read()))
    reader.start()
    try:
        for line in stderr:
            errors.append(line)
            if line.strip() and not line.startswith(_CHATTER):
                progress.line(line.rstrip())
        child.popen.wait()
    finally:
        status = child.end(_GRACE, signal.SIGINT)  # interrupted: uv tidies up, compilers end
        reader.join()
        stdout.close()
        stderr.close()
    return status, "".join(output), "".join(errors)


def _pyenv_pythons() -> list[str]:
    """Return the folders of pyenv's Pythons: on PATH, uv finds only the shims of the active one."""
    root = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"), "versions")
    try:
        names = sorted(name for name in os.listdir(root) if name.startswith("3."))
    except OSError:  # not installed, or another user's
        return []
    return [str(root / name / "bin") for name in names]


def uv_flags(options: BuildOptions) -> list[str]:
    """Return the flags of uv for these options, for every command that looks for packages."""
    flags = ["--offline"] if options.offline else []
    for folder in options.find_links:
        flags += ["--find-links", os.path.abspath(os.path.expanduser(folder))]
    return flags


def _find() -> str:
    """Return the path of the uv that was installed with Rootstock, else of the one on PATH."""
    try:
        import uv

        return os.fsdecode(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        binary = shutil.which("uv")
    if binary is None:
        msg = "uv is not installed; it builds the environments. Install it: pip install uv"
        raise BuildError(msg)
    return binary
