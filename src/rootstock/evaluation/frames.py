"""Reading structures from files, one at a time, with the number of each frame."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Optional, Union

from ase.io import Trajectory, iread
from ase.io.formats import filetype, open_with_compression, string2index

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ase import Atoms

__all__ = ["Frame", "StructureFiles"]


@dataclass(frozen=True)
class Frame:
    """Where a structure comes from.

    Attributes
    ----------
    file : str
        The file.
    number : int
        The frame, from 0.
    """

    file: str
    number: int


class StructureFiles:
    """The structures of files: an iterable that can be read more than once.

    Files are checked and counted at once, so that a missing file, or a file that ends in the middle
    of a frame, is found before any work is done.

    Parameters
    ----------
    paths : sequence of Path
        Files that ASE reads.
    index : str
        Which frames of each, in ASE's syntax: ``":"``, ``"-1"``, ``"::10"``.

    Raises
    ------
    ConfigurationError
        A file is missing or broken, or the index is invalid: names the file and the frame.
    """

    def __init__(self, paths: Sequence[Path], index: str = ":") -> None:
        self._files = [_File(path, index) for path in paths]

    def __iter__(self) -> Iterator[tuple[Frame, Atoms]]:
        """Yield each structure and where it comes from.

        Raises
        ------
        ConfigurationError
            A frame can't be read.
        """
        for file in self._files:
            yield from file

    def __length_hint__(self) -> int:
        """Return the number of structures, as :func:`operator.length_hint` expects it."""
        counts = [file.count for file in self._files]
        return NotImplemented if None in counts else sum(filter(None, counts))


class _File:
    """The chosen frames of one file."""

    def __init__(self, path: Path, index: str) -> None:
        self._path, self._index = path, index
        self._chosen = self._parse()
        self._format = self._find_format()
        self._total = self._count_frames()
        if self._total is not None and self.count == 0 and isinstance(self._chosen, int):
            raise self._absent()

    @property
    def count(self) -> Optional[int]:
        """The number of chosen frames; None if it is known only after reading."""
        if self._total is None or isinstance(self._chosen, str):
            return None
        return len(range(self._total)[_as_slice(self._chosen)])

    def __iter__(self) -> Iterator[tuple[Frame, Atoms]]:
        """Yield the chosen frames."""
        done = 0
        try:
            for number, atoms in self._numbered():
                yield Frame(str(self._path), number), atoms
                done += 1
        except Exception as error:  # ASE's readers raise many types of errors
            raise _unreadable(self._place(done), error) from error
        if not done and isinstance(self._chosen, int):
            raise self._absent()

    def _place(self, done: int) -> str:
        """Say in an error which frame comes after those that were read."""
        if self._total is None or isinstance(self._chosen, str):
            return f"{self._path} beyond {done} frames" if done else str(self._path)
        return f"frame {range(self._total)[_as_slice(self._chosen)][done]} of {self._path}"

    def _numbered(self) -> Iterable[tuple[int, Atoms]]:
        path, chosen = str(self._path), self._chosen
        if isinstance(chosen, str):
            return enumerate(iread(path, index=chosen))
        frames = _as_slice(chosen)
        if self._total is not None and (frames.step or 1) > 0:  # ASE misreads some others
            return zip(range(self._total)[frames], iread(path, index=frames))
        everything = enumerate(iread(path, index=":"))
        if min(frames.start or 0, frames.stop or 0, frames.step or 0) < 0:  # counts from the end
            return list(everything)[frames]
        return itertools.islice(everything, frames.start, frames.stop, frames.step)

    def _parse(self) -> Union[int, slice, str]:
        try:
            chosen: Union[int, slice, str] = string2index(self._index)
        except (ValueError, TypeError):
            raise self._invalid_index() from None
        if chosen == "" or (isinstance(chosen, slice) and chosen.step == 0):
            raise self._invalid_index()
        return chosen

    def _find_format(self) -> str:
        try:
            found: str = filetype(str(self._path))
        except FileNotFoundError as error:
            msg = f"there is no file {self._path}: check the path"
            raise ConfigurationError(msg) from error
        except Exception as error:  # ASE's own types, and those of the file system
            raise _unreadable(str(self._path), error) from error
        if isinstance(self._chosen, str) and found not in {"db", "json"}:  # a selection of rows
            raise self._invalid_index()
        return found

    def _count_frames(self) -> Optional[int]:
        try:
            if self._format == "extxyz":
                with open_with_compression(str(self._path)) as stream:
                    return self._count_xyz(stream)
            if self._format == "traj":
                with Trajectory(str(self._path)) as trajectory:
                    return len(trajectory)
        except ConfigurationError:
            raise
        except Exception as error:
            raise _unreadable(str(self._path), error) from error
        return None

    def _count_xyz(self, stream: IO[str]) -> int:
        """Count frames by the numbers of atoms, which say how many lines follow."""
        number = 0
        while (line := _skip_vectors(stream)).strip():
            if not line.strip().isdecimal():
                msg = (
                    f"frame {number} of {self._path} is broken: it begins with "
                    f"{line.strip()[:40]!r} instead of the number of atoms"
                )
                raise ConfigurationError(msg)
            following = 1 + int(line)
            if sum(1 for _ in itertools.islice(stream, following)) < following:
                msg = f"frame {number} of {self._path} is cut off: the file ends in it"
                raise ConfigurationError(msg)
            number += 1
        if any(line.strip() for line in stream):
            msg = (
                f"{self._path} has an empty line after frame {number - 1}, where ASE stops "
                "reading: remove it"
            )
            raise ConfigurationError(msg)
        return number

    def _invalid_index(self) -> ConfigurationError:
        msg = f"index {self._index!r} must be frames in ASE's syntax, such as ':', '-1' or '::10'"
        return ConfigurationError(msg)

    def _absent(self) -> ConfigurationError:
        has = "fewer" if self._total is None else self._total
        return ConfigurationError(f"{self._path} has no frame {self._index}: it has {has}")


def _unreadable(place: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"ASE can't read {place}: {type(error).__name__}: {error}")


def _skip_vectors(stream: IO[str]) -> str:
    """Return the next line that is no lattice vector of the frame before."""
    line = stream.readline()
    while line.lstrip().startswith("VEC"):
        line = stream.readline()
    return line


def _as_slice(chosen: Union[int, slice]) -> slice:
    return chosen if isinstance(chosen, slice) else slice(chosen, (chosen + 1) or None)
