"""Writing environment files for tests."""

from __future__ import annotations

from pathlib import Path

from rootstock.environments.discovery import find_environment

TEMPLATE = """\
# /// script
# requires-python = ">=3.9"
# dependencies = [{dependencies}]
# {extra}
# ///
{body}
def setup(model, device): return None
"""


def write_environment_file(
    folder: Path, name: str = "my", dependencies: str = "", extra: str = "", body: str = ""
) -> Path:
    """Write an environment file; `dependencies` and `extra` are TOML."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_env.py"
    path.write_text(
        TEMPLATE.format(dependencies=dependencies, extra=extra.replace("\n", "\n# "), body=body)
    )
    return path


def add_to_root(root, name: str = "my", **parts):
    """Write an environment file into a root; return it as read."""
    write_environment_file(root.writable.environments, name=name, **parts)
    return find_environment(name, root)
