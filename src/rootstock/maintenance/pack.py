"""Built environments in one file: for machines without a network, and for node-local disks.

The file is a tar archive of the built environment, its source and lock, and the recorded weights.
It does not contain the interpreter: the machine that unpacks it needs a Python of the same minor
version, to which the environment is pointed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..environments import builds
from ..environments.build import find_build
from ..environments.builds import BuiltEnvironment
from ..environments.discovery import find_environment
from ..environments.environment import Environment
from ..environments.environment_file import read_environment_file
from ..environments.uv import Uv
from ..environments.weights import WeightsFile, check, make_record, records, write_record
from ..errors import BuildError, ConfigurationError, OutputError
from ..settings.root import writing
from ..support.files import copy_atomically, explain, replacing
from ..support.progress import default_progress

if TYPE_CHECKING:
    from ..environments.builds import Build
    from ..settings.root import Root
    from ..support.progress import Progress

__all__ = ["pack", "unpack"]

#: Suffixes of archives that are no tar archives.
_OTHER_FORMATS = (".zip", ".7z", ".rar", ".bz2", ".zst")
_MANIFEST = "rootstock-pack.json"
_ENVIRONMENT, _WEIGHTS = "environment", "weights"


def pack(environment: Environment, output: Path, progress: Optional[Progress] = None) -> list[str]:
    """Write the current build of an environment, with its weights, into a tar archive.

    Parameters
    ----------
    environment : Environment
        The environment; its build must be up to date.
    output : Path
        The archive; compressed if its name ends in ``.gz`` or ``.xz``.
    progress : Progress, optional
        Shows the progress.

    Returns
    -------
    list of str
        Models whose weights are in it.

    Raises
    ------
    ConfigurationError
        The environment is not built, or the archive's name is that of another format.
    OutputError
        The archive can't be written.
    """
    if output.suffix in _OTHER_FORMATS:
        msg = f"{output} would be a tar archive: name it .tar, .tar.gz or .tar.xz"
        raise ConfigurationError(msg)
    build = find_build(environment)
    if build is None or environment.root is None:
        msg = f"{environment.name} is not built: rootstock install {environment.name}"
        raise ConfigurationError(msg)
    progress = progress or default_progress()
    intact = [
        (layer, record)
        for layer, record in records(environment.root)
        if record.environment == environment.name and not check(layer, record)
    ]
    manifest = {
        "pack": 1,
        "name": environment.name,
        "key": build.id,
        "python": _minor(build.folder),
        "records": [record.as_dict() for _, record in intact],
    }
    weights = {(layer.path, file.path) for layer, record in intact for file in record.files}
    with progress.task(f"packing {environment.name}"):
        try:
            with replacing(output) as new, tarfile.open(new, _mode(output)) as tar:
                _add_text(tar, _MANIFEST, json.dumps(manifest, indent=2))
                tar.add(build.folder, _ENVIRONMENT, filter=_without_interpreter)
                for path, name in _sources(environment, build):
                    tar.add(path, name)
                for top, name in weights:
                    tar.add((top / name).resolve(), f"{_WEIGHTS}/{name}", recursive=False)
        except OSError as error:
            msg = f"{output} can't be written: {explain(error)}. Choose another file with -o"
            raise OutputError(msg) from error
    return [record.model for _, record in intact]


def _sources(environment: Environment, build: Build) -> list[tuple[Path, str]]:
    """Return the file and the lock that a build was made from, and their names in the archive."""
    folder = build.folder
    (lock,) = [paths.lock for paths in environment.layers if paths.builds == folder.parent]
    copies = [
        (folder / builds.SOURCE_COPY, environment.file.path),
        (folder / builds.LOCK_COPY, lock),
    ]
    paths = [copy if copy.exists() else original for copy, original in copies]
    return list(zip(paths, (builds.SOURCE_COPY, builds.LOCK_COPY)))


def _minor(folder: Path) -> str:
    """Return the minor version of an environment's Python: the name of its library folder."""
    (library,) = (folder / "lib").glob("python3.*")
    return library.name.removeprefix("python")


def _mode(output: Path) -> Any:
    return {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}.get(output.suffix, "w")


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _without_interpreter(member: tarfile.TarInfo) -> Optional[tarfile.TarInfo]:
    parts = Path(member.name).parts[1:]
    if parts[:1] == ("bin",) and len(parts) == 2 and parts[1].startswith("python"):  # noqa: PLR2004
        return None
    return member


def unpack(archive: Path, root: Root, progress: Optional[Progress] = None) -> BuiltEnvironment:
    """Put a packed environment and its weights into a root, ready to run.

    Raises
    ------
    ConfigurationError
        The file is not an archive of ``pack``, or this Python can't unpack it safely.
    BuildError
        This machine has no Python of the minor version that it was built with.
    RootError
        The root can't be written.
    """
    progress = progress or default_progress()
    root.create()
    layer = root.writable
    with (
        progress.task(f"unpacking {archive.name}"),
        builds.staging_directory(layer, layer.builds) as staging,
    ):
        manifest = _extract(archive, staging)
        if layer.is_group_shared:
            _open_folders_to_group(staging)
        folder, name = staging / _ENVIRONMENT, manifest["name"]
        record = builds.read_staged_record(folder)
        _put_interpreter(folder, manifest["python"], Uv(progress, layer.umask))
        file = read_environment_file(staging / builds.SOURCE_COPY, name, "root")
        paths = Environment.of(file, root).writable
        with writing(layer.path), layer.writable_by_group():
            paths.builds.mkdir(parents=True, exist_ok=True)
            copy_atomically(staging / builds.SOURCE_COPY, paths.source)
            copy_atomically(staging / builds.LOCK_COPY, paths.lock)
            _put_weights(staging / _WEIGHTS, root)
        builds.publish(folder, paths, record, (paths.source, paths.lock))
        for entry in manifest["records"]:
            files = tuple(WeightsFile(**item) for item in entry["files"])
            write_record(root, make_record(name, entry["argument"], entry["key"], files))
    environment = find_environment(name, root)
    build = find_build(environment)
    if build is None:
        msg = f"{archive} was unpacked, but its build does not match its lock: pack it again"
        raise BuildError(msg)
    return BuiltEnvironment(environment, build)


def _extract(archive: Path, folder: Path) -> dict[str, Any]:
    if not hasattr(tarfile, "data_filter"):
        msg = "this Python can't unpack archives safely: use Python 3.10.12, 3.11.4 or newer"
        raise ConfigurationError(msg)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_bytes())
    except FileNotFoundError as error:
        msg = f"there is no archive {archive}, or 'rootstock pack' did not write it"
        raise ConfigurationError(msg) from error
    except (tarfile.TarError, ValueError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{archive} is not an archive that 'rootstock pack' wrote: {reason}"
        raise ConfigurationError(msg) from error
    except (IsADirectoryError, PermissionError) as error:
        msg = f"{archive} can't be read: {explain(error)}"
        raise ConfigurationError(msg) from error
    if manifest.get("pack") != 1:
        msg = f"{archive} was packed by another version of Rootstock: unpack it with that version"
        raise ConfigurationError(msg)
    return manifest


def _open_folders_to_group(top: Path) -> None:
    """Let the group replace and remove files; tarfile makes folders with the process's umask."""
    for folder, _, _ in os.walk(top):
        path = Path(folder)
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWGRP)


def _put_interpreter(folder: Path, minor: str, uv: Uv) -> None:
    """Point an environment at this machine's Python of the minor version that it was built with."""
    config = folder / "pyvenv.cfg"
    lines = config.read_text().splitlines()
    home = next((line.partition("=")[2].strip() for line in lines if line.startswith("home")), "")
    python = Path(home, f"python{minor}")
    if not python.is_file():
        candidates = [python.path for python in uv.interpreters() if python.minor == minor]
        if not candidates:
            msg = (
                f"this environment was built with Python {minor}, which is not on this machine: "
                f"install it (uv python install {minor}), and unpack again"
            )
            raise BuildError(msg)
        python = Path(candidates[0]).resolve()
    lines = [f"home = {python.parent}" if line.startswith("home") else line for line in lines]
    config.write_text("\n".join(lines) + "\n")
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "python").symlink_to(python)
    for name in ("python3", f"python{minor}"):
        (programs / name).symlink_to("python")


def _put_weights(source: Path, root: Root) -> None:
    """Move weights into the root; existing files stay."""
    for path in sorted(source.rglob("*")):
        target = root.writable.path / path.relative_to(source)
        if path.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
