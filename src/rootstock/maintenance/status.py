"""How a root and this machine are: `status` of what is installed, `doctor` of what it needs."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..conformance import latest
from ..environments.build import find_built, fits
from ..environments.builds import current
from ..environments.discovery import available
from ..environments.permissions import open_to_all
from ..environments.uv import Uv
from ..environments.weights import check, records
from ..errors import BuildError, RootstockError
from ..settings.config import private_cache
from ..support.progress import Progress
from .gc import plan_collection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..conformance import Verification
    from ..environments.discovery import Available
    from ..environments.weights import WeightsRecord
    from ..settings.root import Root

__all__ = ["Finding", "Health", "doctor", "status"]

#: Less than this is too little for an environment with PyTorch.
_DISK = 8 * 2**30
#: Seconds that a site gets to answer.
_ANSWER = 5.0


@dataclass(frozen=True)
class Health:
    """One environment, or one model whose weights were fetched.

    Attributes
    ----------
    name : str
        Environment or model string.
    state : str
        ``"ready"``, ``"stale"``, ``"not built"``, ``"broken"``, ``"fetched"`` or ``"damaged"``.
    detail : str
        What there is to say of it.
    command : str
        What mends it; empty if nothing has to be.
    """

    name: str
    state: str
    detail: str = ""
    command: str = ""


def status(root: Root, *, deep: bool = False) -> list[Health]:
    """Return what is installed and fetched, and what mends it where it is not healthy.

    Parameters
    ----------
    root : Root
        Which root.
    deep : bool
        Compare the contents of weights, not only their sizes.
    """
    found = [_environment(entry, root) for entry in available(root) if _is_of_interest(entry, root)]
    for layer, record in records(root):
        problems = check(layer, record, deep=deep)
        verified = _verified(latest(root, record.environment, record.argument))
        detail = problems[0] if problems else ", ".join(filter(None, [_size(record), verified]))
        command = f"rootstock fetch {record.model}" if problems else ""
        found.append(Health(record.model, "damaged" if problems else "fetched", detail, command))
    left = plan_collection(root)
    if left:
        found.append(Health("leftovers", "stale", f"{len(left)} to remove", "rootstock gc"))
    return found


def _verified(found: list[Verification]) -> str:
    """Say where models passed, and each that failed."""
    places = {f"{one.host} {one.device}" for one in found if one.passed}
    passed = [f"verified on {', '.join(sorted(places))}"] if places else []
    failed = [f"{one.model} FAILED on {one.host} {one.device}" for one in found if not one.passed]
    return "; ".join([*passed, *failed])


def _size(record: WeightsRecord) -> str:
    total = sum(file.size for file in record.files) / 2**20
    return f"{total:.1f} MiB" if record.files else "weights ship with the package"


def _is_of_interest(entry: Available, root: Root) -> bool:
    """Tell if somebody has touched it: the catalogue's other files are only on offer."""
    if entry.origin != "catalogue" or entry.file is None:
        return True
    return any(current(layer.generations(entry.file)) for layer in root.layers)


def _environment(entry: Available, root: Root) -> Health:
    if entry.file is None:
        where = f"mend {entry.path}"
        return Health(entry.name, "broken", entry.problem.partition("\n")[0], where)
    file = entry.file
    install = f"rootstock install {file.name}"
    verified = _verified(latest(root, file.name))
    for layer in root.layers:
        found = current(layer.generations(file))
        if found is None:
            continue
        marker = found[1]
        built = f"built {marker.built[:10]} by {marker.user or '?'} on {marker.host}"
        if not fits(file, layer, marker):
            return Health(file.name, "stale", f"file or lock edited since it was {built}", install)
        return Health(file.name, "ready", "; ".join(filter(None, [built, verified])))
    return Health(file.name, "not built", f"from {entry.origin}", install)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    topic : str
        What.
    level : str
        ``"ok"``, ``"note"`` or ``"problem"``.
    detail : str
        What was found.
    command : str
        What mends it; empty if nothing has to be.
    """

    topic: str
    level: str
    detail: str
    command: str = ""


def doctor(root: Root) -> list[Finding]:
    """Look at uv, Pythons, disk, network, GPU and permissions."""
    return [
        *_uv(),
        *_disk(root),
        *_network(),
        _gpu(),
        *_permissions(root),
        *_models(root),
    ]


def _uv() -> Iterator[Finding]:
    try:
        uv = Uv(Progress())
        yield Finding("uv", "ok", uv.version())
        pythons = [str(one.version) for one in uv.interpreters()]
    except BuildError as error:
        yield Finding("uv", "problem", str(error).partition("\n")[0], "pip install uv")
        return
    if pythons:
        yield Finding("Pythons", "ok", ", ".join(pythons))
    else:
        yield Finding("Pythons", "problem", "uv finds none", "uv python install 3.12")


def _disk(root: Root) -> Iterator[Finding]:
    for what, path in (
        ("disk of the root", root.writable.path),
        ("disk of kernels", private_cache()),
    ):
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        little = free < _DISK and what == "disk of the root"
        detail = f"{free / 2**30:.0f} GiB free at {there}"
        yield Finding(what, "problem" if little else "ok", detail, "rootstock gc" if little else "")


def _network() -> Iterator[Finding]:
    """Ask as builds and downloads do: with the configured index, proxies and mirrors."""
    advice = "install and fetch where there is a network"
    try:
        Uv(Progress()).ask_index()
        yield Finding("packages", "ok", "uv's index answers")
    except BuildError as error:
        why = error.output.strip().partition("\n")[0] or str(error)
        yield Finding("packages", "note", f"uv's index does not answer here: {why}", advice)
    sites = {
        "weights": os.environ.get("HF_ENDPOINT", "https://huggingface.co"),
        "PyTorch's builds": "https://download.pytorch.org/whl/",
    }
    for what, url in sites.items():
        if _answers(url):
            yield Finding(what, "ok", f"{url} answers")
        else:
            yield Finding(what, "note", f"{url} does not answer here", advice)


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310  http, or the user's own
    try:
        urllib.request.urlopen(request, timeout=_ANSWER).close()  # noqa: S310
    except urllib.error.HTTPError:  # of a server that is there
        return True
    except (OSError, ValueError):
        return False
    return True


def _gpu() -> Finding:
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603
            command, check=True, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return Finding("GPU", "note", f"none found on {platform.node()}: models run on the CPU")
    return Finding("GPU", "ok", "; ".join(done.stdout.strip().splitlines()))


def _permissions(root: Root) -> Iterator[Finding]:
    if not root.path.exists():
        yield Finding("root", "note", f"{root.path} does not exist yet", "rootstock init")
        return
    if root.user_layer is not None:
        yield Finding("root", "ok", f"{root.path}, read-only; your own layer is {root.user_layer}")
    else:
        yield Finding("root", "ok", f"{root.path}, yours to write")
    worst = _first_bad(root)
    if worst is not None:
        yield worst


def _first_bad(root: Root) -> Optional[Finding]:
    """Look at folders and the small files near the top, as a user who is not the maintainer."""
    shared = _is_shared(root)
    top = [root.path, root.environments, root.path / "envs", root.cache, root.records]
    near = [path for folder in top if folder.is_dir() for path in _listed(folder)]
    for path in [*top, *near]:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if open_to_all(path):
            detail = f"{path} can be written by everybody: they could run code as you"
            return Finding("permissions", "problem", detail, f"chmod -R o-w {root.path}")
        readable = mode & stat.S_IROTH and (not stat.S_ISDIR(mode) or mode & stat.S_IXOTH)
        if shared and not readable:
            detail = f"{path} can't be read by everybody"
            return Finding("permissions", "problem", detail, f"chmod -R o+rX {root.path}")
        group = mode & stat.S_IWGRP and (not stat.S_ISDIR(mode) or mode & stat.S_ISGID)
        if root.is_group_shared and not group:
            detail = f"{path} can't be written by the group"
            mend = f"chmod -R g+w {root.path} && find {root.path} -type d -exec chmod g+s {{}} +"
            return Finding("permissions", "problem", detail, mend)
    return None


def _is_shared(root: Root) -> bool:
    """Tell if others are meant to read it: a group's, another user's, or readable at its top."""
    return root.is_group_shared or root.user_layer is not None


def _listed(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if not entry.is_symlink()]
    except OSError:
        return []


def _models(root: Root) -> Iterator[Finding]:
    for entry in available(root):
        if entry.file is None:
            yield Finding(
                entry.name, "problem", entry.problem.partition("\n")[0], f"mend {entry.path}"
            )
            continue
        try:
            built = find_built(entry.file, root)
        except RootstockError as error:
            yield Finding(entry.name, "problem", str(error))
            continue
        if built is not None and not os.access(built.python, os.X_OK):
            detail = f"{built.python} can't be run"
            yield Finding(entry.name, "problem", detail, f"rootstock install {entry.name} --force")
