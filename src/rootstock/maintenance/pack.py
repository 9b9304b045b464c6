"""Built environments in one file: to machines without a network, and to node-local disks.

The file is a tar archive of the built environment, its source and lock, and the recorded weights.
The interpreter itself is not in it: where it is unpacked there has to be a Python of the same minor
version, whose path is put in.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..environments import builds as g
from ..environments.build import find_built
from ..environments.discovery import read_by_name
from ..environments.environment_file import read_environment_file
from ..environments.uv import Uv
from ..environments.weights import WeightsFile, check, records, write_record
from ..errors import BuildError, ConfigurationError
from ..settings.root import maintaining, writing
from ..support.progress import Progress, default_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..environments.builds import BuiltEnvironment
    from ..environments.environment_file import EnvironmentFile
    from ..settings.root import Root

__all__ = ["pack", "unpack"]

_MANIFEST = "rootstock-pack.json"
_ENVIRONMENT, _WEIGHTS = "environment", "weights"


def pack(
    file: EnvironmentFile, root: Root, output: Path, progress: Optional[Progress] = None
) -> list[str]:
    """Write the built environment of a file, with its weights, into a tar archive.

    Parameters
    ----------
    file : EnvironmentFile
        Which one; built and fitting.
    root : Root
        Where it is.
    output : Path
        The archive; compressed if its name ends in ``.gz`` or ``.xz``.
    progress : Progress, optional
        Shows how it goes.

    Returns
    -------
    list of str
        Models whose weights are in it.

    Raises
    ------
    ConfigurationError
        It is not built.
    WeightsError
        Recorded weights are not what they were.
    RootError
        The archive can't be written.
    """
    built = find_built(file, root)
    if built is None:
        msg = f"{file.name} is not built: rootstock install {file.name}"
        raise ConfigurationError(msg)
    progress = progress or default_progress()
    folder = built.python.parent.parent
    wanted = [(layer, record) for layer, record in records(root) if record.environment == file.name]
    good = [(layer, record) for layer, record in wanted if not check(layer, record)]
    manifest = {
        "pack": 1,
        "name": file.name,
        "key": built.key,
        "python": _minor(folder),
        "records": [asdict(record) for _, record in good],
    }
    progress.begin(f"packing {file.name}")
    try:
        with writing(output), _unfinished(output) as new, tarfile.open(new, _mode(output)) as tar:
            _add_text(tar, _MANIFEST, json.dumps(manifest, indent=2), new.parent)
            tar.add(folder, _ENVIRONMENT, filter=_without_interpreter)
            for path, kept in _sources(file, root, folder):
                tar.add(path, kept)
            for top, name in {(layer.path, f.path) for layer, record in good for f in record.files}:
                tar.add((top / name).resolve(), f"{_WEIGHTS}/{name}", recursive=False)
    finally:
        progress.end("")
    return [record.model for _, record in good]


def _sources(file: EnvironmentFile, root: Root, folder: Path) -> list[tuple[Path, str]]:
    """Return the file and the lock that an environment was built from."""
    locks = [layer.lock(file) for layer in root.layers if folder.parent.parent.parent == layer.path]
    pairs = [(folder / g.SOURCE, file.path), (folder / g.LOCK, locks[0])]
    paths = [kept if kept.exists() else now for kept, now in pairs]
    return list(zip(paths, (g.SOURCE, g.LOCK)))


def _minor(folder: Path) -> str:
    """Return the minor version of an environment's Python: the name of its library folder."""
    (library,) = (folder / "lib").glob("python3.*")
    return library.name.removeprefix("python")


def _mode(output: Path) -> Any:
    return {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}.get(output.suffix, "w")


@contextlib.contextmanager
def _unfinished(output: Path) -> Iterator[Path]:
    """Yield a path beside `output`, renamed to it once it is complete."""
    new = output.with_name(f".{output.name}.unfinished")
    try:
        yield new
        new.replace(output)
    finally:
        new.unlink(missing_ok=True)


def _add_text(tar: tarfile.TarFile, name: str, text: str, folder: Path) -> None:
    path = folder / f".{name}"
    path.write_text(text)
    try:
        tar.add(path, name)
    finally:
        path.unlink()


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
        It is no such archive.
    BuildError
        There is no Python of the minor version that it was built with.
    RootError
        The root can't be written.
    """
    progress = progress or default_progress()
    root.create()
    progress.begin(f"unpacking {archive.name}")
    try:
        with maintaining(root), g.scratch(root.writable.path / "envs") as workshop:
            manifest = _extract(archive, workshop)
            aside, name = workshop / _ENVIRONMENT, manifest["name"]
            marker = g.Marker(**json.loads((aside / "rootstock.json").read_bytes()))
            _put_interpreter(aside, manifest["python"], Uv(progress))
            source, lock = workshop / g.SOURCE, workshop / g.LOCK
            file = read_environment_file(source, name, "root")
            generations = root.writable.generations(file)
            with writing(root.writable.path):
                generations.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, root.writable.source(name))
                shutil.copyfile(lock, root.writable.lock(file))
                _put_weights(workshop / _WEIGHTS, root)
            kept = (root.writable.source(name), root.writable.lock(file))
            g.publish(aside, generations, marker, kept)
            for record in manifest["records"]:
                files = tuple(WeightsFile(**entry) for entry in record["files"])
                write_record(root, name, record["argument"], record["key"], files)
    finally:
        progress.end("")
    found = find_built(read_by_name(name, root), root)
    if found is None:
        msg = f"{archive} was unpacked, but does not fit its own lock: pack it again"
        raise BuildError(msg)
    return found


def _extract(archive: Path, folder: Path) -> dict[str, Any]:
    if not hasattr(tarfile, "data_filter"):
        msg = "unpacking needs a Python that can do it safely: 3.10.12, 3.11.4, or newer"
        raise ConfigurationError(msg)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_bytes())
    except FileNotFoundError as error:
        msg = f"there is no archive {archive}, or it is none that 'rootstock pack' wrote"
        raise ConfigurationError(msg) from error
    except (tarfile.TarError, ValueError, EOFError) as error:
        msg = f"{archive} is no archive that 'rootstock pack' wrote: {error}"
        raise ConfigurationError(msg) from error
    if manifest.get("pack") != 1:
        msg = f"{archive} was packed by another version of Rootstock: use the same"
        raise ConfigurationError(msg)
    return manifest


def _put_interpreter(aside: Path, minor: str, uv: Uv) -> None:
    """Point an environment at this machine's Python of the minor version that it was built with."""
    config = aside / "pyvenv.cfg"
    lines = config.read_text().splitlines()
    home = next((line.partition("=")[2].strip() for line in lines if line.startswith("home")), "")
    python = Path(home, f"python{minor}")
    if not python.is_file():
        found = [one.path for one in uv.interpreters() if one.minor == minor]
        if not found:
            msg = (
                f"this environment was built with Python {minor}, which is not on this machine: "
                f"install it (uv python install {minor}), and unpack again"
            )
            raise BuildError(msg)
        python = Path(found[0]).resolve()
    lines = [f"home = {python.parent}" if line.startswith("home") else line for line in lines]
    config.write_text("\n".join(lines) + "\n")
    folder = aside / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "python").symlink_to(python)
    for name in ("python3", f"python{minor}"):
        (folder / name).symlink_to("python")


def _put_weights(source: Path, root: Root) -> None:
    """Move weights to their places; a file that is there already stays."""
    for path in sorted(source.rglob("*")):
        target = root.writable.path / path.relative_to(source)
        if path.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
