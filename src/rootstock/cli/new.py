"""``rootstock new NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from ..errors import ConfigurationError, OutputError
from ..support.files import explain
from .options import JsonOption
from .output import reporting_errors, show

__all__ = ["new_command"]

_TEMPLATE = '''\
# /// script
# requires-python = ">=3.10"
# dependencies = ["ase>=3.23"]     # as for pip install; pin what matters
#
# [tool.rootstock]
# licence = ""                     # of the weights; list, show and fetch print it
# paper = ""                       # DOI or arXiv number
# elements = ""                    # for example "H C N O"; verify uses these (default: all)
# [tool.rootstock.variables]       # environment variables of the worker
# # OMP_PROC_BIND = "false"
#
# [tool.uv]                        # uv settings: sources, indexes, overrides, ...
# ///
"""NAME: one-line summary, printed by rootstock list.

A longer description, printed by rootstock show.
"""

# The models, with a description of each. A model string is "NAME-MODEL"; "" stands for "NAME".
MODELS = {"": "the default model"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return an ASE calculator; import the model's library here, not at the top of the file."""
    from ase.calculators.emt import EMT

    return EMT(**options)
'''


@dataclass(frozen=True)
class Written:
    """A new file.

    Attributes
    ----------
    path : str
        Its path.
    """

    path: str

    def renderable(self) -> str:
        """Return the path and the next command."""
        return f"wrote {self.path}. Edit it, then: rootstock install {self.path}"


def new_command(
    name: str = typer.Argument(help="Name of the environment: model strings begin with it."),
    folder: Path = typer.Option(Path(), help="Where to write NAME_env.py."),
    as_json: bool = JsonOption,
) -> None:
    """Write a commented environment file to start from."""
    with reporting_errors():
        from ..environments.environment_file import check_settings, read_environment_file

        if not name or not all(part.isalnum() or part in "_-." for part in name):
            msg = f"{name!r} is not a valid name: use letters, digits, dots, dashes"
            raise ConfigurationError(msg)
        path = folder / f"{name}_env.py"
        if path.exists():
            msg = f"{path} exists already: choose another name"
            raise ConfigurationError(msg)
        try:
            path.write_text(_TEMPLATE.replace("NAME", name))
        except OSError as error:
            msg = f"{path} can't be written: {explain(error)}. Choose another --folder"
            raise OutputError(msg) from error
        check_settings(read_environment_file(path, name, "file"), strict=True)
        show(Written(str(path)), as_json)
