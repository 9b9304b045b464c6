"""Options of locks and builds that the environment file does not contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

__all__ = ["DEFAULT_OPTIONS", "BuildOptions"]


@dataclass(frozen=True)
class BuildOptions:
    """Options of one lock or build.

    Attributes
    ----------
    python : str or None
        A version or an interpreter; by default the newest one for which there are wheels.
    torch_backend : str or None
        uv's name of a PyTorch build: ``"cpu"``, ``"cu128"``, ``"auto"``, ...
    system_site_packages : bool or None
        Whether the environment sees the packages of `python`; None as the file says.
    find_links : tuple of str
        Folders with wheels.
    offline : bool
        Use no network.
    upgrade : bool
        Resolve the dependencies again instead of following the lock.
    force : bool
        Build even if the current build is up to date.
    """

    python: Optional[str] = None
    torch_backend: Optional[str] = None
    system_site_packages: Optional[bool] = None
    find_links: tuple[str, ...] = ()
    offline: bool = False
    upgrade: bool = False
    force: bool = False


DEFAULT_OPTIONS = BuildOptions()
