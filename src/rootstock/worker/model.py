"""The model: the calculator of an environment file's ``setup()`` and the Atoms it sees."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.abc
import importlib.metadata
import importlib.util
import inspect
import os
import platform
import sys
import warnings
from typing import TYPE_CHECKING, Any, Optional

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes, compare_atoms

from ..protocol.values import UntransferableError, encode
from .batch import evaluate_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import Union

    import numpy as np

    from ..protocol.client import ReceivedStructure

__all__ = ["EnvironmentModel"]

#: The environment file is imported under this name, so that ``mace.py`` does not shadow a package.
_MODULE = "_rootstock_environment"


class EnvironmentModel:
    """The calculator that ``setup()`` returned, and the Atoms that it evaluates."""

    def __init__(self) -> None:
        self._calculator: Any = None
        self._batch_function: Optional[Callable[..., Any]] = None
        self._atoms: Optional[Atoms] = None
        self._previous: Optional[Atoms] = None  # None: nothing is known to be unchanged
        self._fixed_inputs_changed = True
        self._direct = False

    def load(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Run ``setup()``.

        Parameters
        ----------
        config : mapping
            ``file``, ``digest`` (its SHA-256), ``argument``, ``device``, ``options``, ``threads``
            (or None), ``packages`` (names whose versions are reported) and ``record_opened_in``
            (folders; files in them that loading opens are reported).

        Returns
        -------
        dict
            The fields of :class:`rootstock.protocol.data.WorkerReport`.

        Raises
        ------
        ChangedFileError
            The file has another content than the digest says.
        TypeError
            The file has no ``setup()``, or ``setup()`` returned no ASE calculator. Its own
            exceptions pass through.
        """
        folders = tuple(os.path.join(folder, "") for folder in config["record_opened_in"])
        opened = _record_opened_files(folders) if folders else set()
        device = _decide_device(config["device"])
        module = _import_file(config["file"], config["digest"])
        setup = getattr(module, "setup", None)
        if not callable(setup):
            msg = f"{config['file']} has no function setup(model, device)"
            raise TypeError(msg)
        settings = _settings(setup, config["options"])
        calculator = setup(config["argument"], device, **config["options"])
        if not callable(getattr(calculator, "calculate", None)):
            kind = type(calculator).__name__
            msg = f"setup() in {config['file']} returned {kind} instead of an ASE calculator"
            raise TypeError(msg)
        _limit_threads(config["threads"])
        self._calculator = calculator
        self._batch_function = getattr(module, "evaluate_batch", None)
        self._direct = _uses_ases_get_property(calculator)
        cls = type(calculator)
        return {
            "implemented_properties": [str(n) for n in calculator.implemented_properties],
            "device": device,
            "calculator": f"{cls.__module__}.{cls.__qualname__}",
            "python": platform.python_version(),
            "packages": _versions(config["packages"]),
            "pid": os.getpid(),
            "gpu": _gpu_name(device),
            "precision": _precision(),
            "settings": settings,
            "evaluates_batches": callable(self._batch_function),
            "opened": sorted(opened | _mapped_files(folders) if folders else ()),
        }

    def set_fixed_inputs(self, arrays: Mapping[str, np.ndarray], info: dict[Any, Any]) -> None:
        """Make new Atoms of :class:`rootstock.protocol.data.FixedInputs`; later steps move them."""
        self._atoms = _make_atoms(arrays, info)
        self._fixed_inputs_changed = True

    def evaluate(
        self, positions: np.ndarray, cell: np.ndarray, properties: list[str]
    ) -> Mapping[str, Any]:
        """Evaluate the model as ``Atoms.get_...()`` would after a change of the structure.

        Parameters
        ----------
        positions : ndarray of float64, shape (n, 3)
            In Å. It becomes the Atoms' own array: the next step arrives in it.
        cell : ndarray of float64, shape (3, 3)
            Lattice vectors as rows, in Å.
        properties : list of str
            The requested properties.

        Returns
        -------
        mapping
            All results of the calculator by property name, in ASE's units.
        """
        atoms, calculator = self._atoms, self._calculator
        if atoms is None or calculator is None:
            msg = "a structure was sent before the model was loaded"
            raise RuntimeError(msg)
        atoms.arrays["positions"] = positions
        changes = ["positions"]
        unknown = self._previous is None or self._fixed_inputs_changed
        if unknown or (atoms.cell.array != cell).any():
            atoms.cell[:] = cell
            changes = self._compare(atoms)
        self._previous = None  # unknown if the calculator raises
        results = self._calculate(atoms, properties, changes)
        self._previous = atoms
        return results

    def evaluate_together(
        self, structures: Sequence[ReceivedStructure], properties: list[str]
    ) -> Sequence[Union[Mapping[str, Any], Exception]]:
        """Evaluate structures by the environment file's ``evaluate_batch()``.

        Parameters
        ----------
        structures : sequence of ((arrays, info), positions, cell)
            Any mixture; units as for :meth:`evaluate`.
        properties : list of str
            The properties that are asked for.

        Returns
        -------
        sequence of mapping or Exception
            The results or the error of each structure. If all failed, the exception passes through.
        """
        if self._calculator is None or self._batch_function is None:
            msg = "the environment file defines no evaluate_batch()"
            raise RuntimeError(msg)
        images = []
        for (arrays, info), positions, cell in structures:
            atoms = _make_atoms(arrays, dict(info))
            atoms.arrays["positions"] = positions
            atoms.cell[:] = cell
            images.append(atoms)
        self._previous = None  # the function may have left other atoms in the calculator
        return evaluate_together(self._batch_function, self._calculator, images, properties)

    def _compare(self, atoms: Atoms) -> list[str]:
        """Return ASE's names of the changes, in ASE's order; positions always count as changed."""
        if self._previous is None or atoms is self._previous:
            changed = set(all_changes if self._previous is None else ("positions", "cell"))
        else:
            changed = {"positions", *compare_atoms(self._previous, atoms)}
        if self._fixed_inputs_changed:
            # ASE's caches don't look at ``info``: those inside a sum of calculators are emptied
            for part in getattr(getattr(self._calculator, "mixer", None), "calcs", ()):
                _forget(part)
        self._fixed_inputs_changed = False
        return [name for name in all_changes if name in changed]

    def _calculate(
        self, atoms: Atoms, properties: list[str], changes: list[str]
    ) -> Mapping[str, Any]:
        calculator = self._calculator
        _forget(calculator)
        if self._direct:
            if getattr(calculator, "use_cache", False):  # as BaseCalculator.get_property does
                calculator.atoms = atoms.copy()
            calculator.calculate(atoms, properties, changes)
            return dict(calculator.results)
        requested = {name: calculator.get_property(name, atoms) for name in properties}
        return {**getattr(calculator, "results", {}), **requested}


def _make_atoms(arrays: Mapping[str, np.ndarray], info: dict[Any, Any]) -> Atoms:
    """Return Atoms with these inputs, still without positions and cell."""
    arrays = dict(arrays)
    atoms = Atoms(numbers=arrays.pop("numbers"), pbc=arrays.pop("pbc"))
    for name, array in arrays.items():
        atoms.set_array(name, array)
    atoms.info = info
    return atoms


def _forget(calculator: Any) -> None:
    """Empty a calculator's cache, as ASE does after any change."""
    if hasattr(calculator, "reset"):
        calculator.reset()
    else:
        calculator.atoms = None
        calculator.results = {}


def _uses_ases_get_property(calculator: Any) -> bool:
    """Return whether ``get_property()`` is ASE's; ``calculate()`` may then be called directly."""
    for kind in type(calculator).__mro__:
        if "get_property" in vars(kind):
            return kind.__module__ == Calculator.__module__ and hasattr(calculator, "results")
    return False


class ChangedFileError(Exception):
    """The environment file changed since the main process read it."""


def _import_file(path: str, digest: str) -> ModuleType:
    """Import an environment file; what is executed is what has this SHA-256."""
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or not isinstance(spec.loader, importlib.abc.SourceLoader):
        msg = f"{path} is not a Python file"
        raise ImportError(msg)
    source = spec.loader.get_data(path)
    if hashlib.sha256(source).hexdigest() != digest:
        msg = f"{path} changed"
        raise ChangedFileError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module  # where dataclasses and pickle look for it
    exec(spec.loader.source_to_code(source, path), vars(module))  # noqa: S102  its loader's own way
    return module


def _record_opened_files(folders: tuple[str, ...]) -> set[str]:
    """Return a set that receives the paths of files in `folders` that Python opens from now on."""
    opened: set[str] = set()

    def note(event: str, arguments: Any) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if path.startswith(folders):
                opened.add(path)

    sys.addaudithook(note)
    return opened


def _mapped_files(folders: tuple[str, ...]) -> set[str]:
    """Return the files in `folders` that are mapped into memory: how C++ and Rust load weights."""
    try:
        with open("/proc/self/maps") as stream:
            mapped = {line.split(maxsplit=5)[-1].strip() for line in stream if "/" in line}
    except OSError:  # not on Linux
        return set()
    return {path for path in mapped if path.startswith(folders)}


def _decide_device(device: str) -> str:
    """Return ``"cuda"`` for ``"auto"`` where the environment's PyTorch, or JAX, sees a GPU."""
    if device != "auto":
        return device
    if importlib.util.find_spec("torch") is not None:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    if importlib.util.find_spec("jax") is not None:
        import jax

        return "cuda" if jax.default_backend() == "gpu" else "cpu"
    return "cpu"


def _limit_threads(threads: Optional[int]) -> None:
    """Set PyTorch's number of threads; other libraries read the environment variables."""
    torch = sys.modules.get("torch")
    if threads is not None and torch is not None:
        torch.set_num_threads(threads)


def _settings(setup: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that ``setup()`` runs with, its defaults included, as JSON data."""
    try:
        parameters = list(inspect.signature(setup).parameters.values())[2:]  # model, device
    except (TypeError, ValueError):
        parameters = []
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    settings = {}
    for name, value in {**defaults, **options}.items():
        with contextlib.suppress(UntransferableError):
            settings[name] = encode(value)
    return settings


def _gpu_name(device: str) -> str:
    """Return PyTorch's or JAX's name of the GPU; empty on other devices."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if not device.startswith("cuda"):
        return ""
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    if jax is not None and jax.default_backend() == "gpu":
        return str(jax.devices()[0].device_kind)
    return ""


def _precision() -> dict[str, str]:
    """Return PyTorch's precision settings; empty without PyTorch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    readers: dict[str, Callable[[], object]] = {
        "default_dtype": lambda: str(torch.get_default_dtype()).rpartition(".")[2],
        "float32_matmul_precision": torch.get_float32_matmul_precision,
        "cuda.matmul.allow_tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
        "cuda.matmul.fp32_precision": lambda: torch.backends.cuda.matmul.fp32_precision,
        "cudnn.allow_tf32": lambda: torch.backends.cudnn.allow_tf32,
    }
    settings = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions call these settings deprecated
        for name, read in readers.items():
            # absent before PyTorch 2.9; unreadable if the model used the newer interface
            with contextlib.suppress(AttributeError, RuntimeError):
                settings[name] = str(read())
    return settings


def _versions(names: list[str]) -> dict[str, str]:
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
