"""Building small environments."""

from __future__ import annotations

from rootstock.environments.build import prepare_environment
from rootstock.environments.model_strings import resolve
from rootstock.support.progress import Progress
from tests.support.environment_files import write_environment_file

#: Shows nothing.
QUIET = Progress()


def build(root, **parts):
    """Write an environment file into a root and build it."""
    write_environment_file(root.writable.environments, **parts)
    return prepare_environment(resolve(parts.get("name", "my"), root)[0], QUIET)


def leftovers(root) -> list[str]:
    """Return the temporary files and folders that a build may leave."""
    return [
        str(p)
        for p in root.path.rglob("*")
        if p.name.startswith((".building", ".lease", ".current", ".my"))
    ]
