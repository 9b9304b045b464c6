"""Create a root, for one user or for a group that maintains it together."""

from __future__ import annotations

import grp
import os
import stat
from typing import TYPE_CHECKING, Optional

from ..errors import RootError, UnknownNameError
from ..settings.root import writing
from ..support.suggestions import did_you_mean, similar_names

if TYPE_CHECKING:
    from ..settings.root import Root

__all__ = ["initialise_root"]


def initialise_root(root: Root, group: Optional[str] = None) -> Root:
    """Make the folders of a root.

    Parameters
    ----------
    root : Root
        The root.
    group : str, optional
        Unix group whose members maintain the root: they may write everywhere, other users may read.

    Returns
    -------
    Root
        The same root.

    Raises
    ------
    RootError
        The root can't be written, or its group can't be set.
    UnknownNameError
        There is no such group.
    """
    if root.is_read_only:
        msg = (
            f"{root.path} exists and you can't write to it: ask its maintainer to run "
            "'rootstock init'"
        )
        raise RootError(msg)
    root.create()
    if group is None:
        return root
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError as error:
        known = [entry.gr_name for entry in grp.getgrall()]
        similar = similar_names(group, known)
        msg = f"there is no group {group!r}{did_you_mean(similar)}"
        raise UnknownNameError(msg, group, similar) from error
    layer = root.shared
    folders = [layer.environments, layer.builds, layer.cache, layer.home, layer.records]
    with writing(root.path):
        layer.records.mkdir(exist_ok=True)
        for folder in [layer.path, *folders]:
            try:
                os.chown(folder, -1, number)
                folder.chmod(stat.S_ISGID | 0o775)
            except PermissionError as error:
                msg = (
                    f"the group of {folder} can't be set to {group!r}: a member of the group who "
                    f"owns the folder must run: chgrp {group} {folder} && chmod 2775 {folder}"
                )
                raise RootError(msg) from error
    return root
