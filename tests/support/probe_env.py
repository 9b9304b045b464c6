# /// script
# requires-python = ">=3.9"
# dependencies = ["ase>=3.22.1"]
# ///
"""The environment of the test suite: many small models in one build."""

import math
import os
import signal
import sys
import time

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

MODELS = {"reference": "depends on all inputs", "null": "zeros"}


class Reference(Calculator):
    """Depends on everything that a model may read, and returns unusual result types."""

    implemented_properties = ["energy", "free_energy", "forces", "stress", "charges", "magmoms"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        weights = atoms.numbers * 1.0
        weights += 0.5 * atoms.get_initial_charges() + 0.25 * atoms.get_initial_magnetic_moments()
        weights += 0.125 * atoms.get_tags() + 3.0 * atoms.pbc.dot([1, 2, 4])
        weights += digest(atoms.info) + math.fsum(atoms.cell.array.ravel().tolist())
        for name in sorted(set(atoms.arrays) - {"positions", "numbers"}):
            weights += np.asarray(atoms.arrays[name], float).reshape(len(atoms), -1)[:, 0]
        # only operations that IEEE 754 rounds correctly: equal in every version of NumPy
        forces = atoms.positions * weights[:, None]
        self.results = {
            "energy": math.fsum(forces.ravel().tolist()),
            "free_energy": np.float32(weights.sum()),
            "forces": forces,
            "stress": np.arange(9.0).reshape(3, 3) * weights[-1],
            "charges": weights.astype(np.float32),
            "magmoms": weights.astype(">f8")[::2],
            "complex": weights.astype(complex)[::2],
            "empty": np.zeros((0, 3)),
            "zero_d": np.array(weights[0]),
            "count": len(atoms),
            "flag": np.bool_(True),
            "note": "text",
            "changes": list(system_changes),
            "asked": list(properties),
            "odd": object(),
        }


def digest(value):
    """Return a number that depends on all of a nested value, types included."""
    if isinstance(value, dict):
        return math.fsum(digest(k) * digest(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return math.fsum(
            (i + 2 + isinstance(value, tuple)) * digest(v) for i, v in enumerate(value)
        )
    if isinstance(value, (np.ndarray, np.generic)):
        raw = np.frombuffer(value.tobytes(), np.uint8)
        return float(raw.sum()) + len(value.dtype.str) + value.ndim + isinstance(value, np.ndarray)
    if value is None:
        return 0.77
    if isinstance(value, (str, bytes)):
        return math.fsum(
            (i + 1) * (c if isinstance(c, int) else ord(c)) for i, c in enumerate(value)
        )
    if isinstance(value, complex):
        return digest(value.real) + 7 * digest(value.imag)
    value = float(value if isinstance(value, float) else max(-(10**6), min(10**6, value)))
    return 99.5 if value != value else max(-1e6, min(1e6, value)) + 0.01 * len(type(value).__name__)


class Null(Calculator):
    implemented_properties = ["energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if getattr(self, "forces", None) is None or len(self.forces) != len(atoms):
            self.forces, self.stress = np.zeros((len(atoms), 3)), np.zeros(6)
        self.results = {"energy": 0.0, "forces": self.forces, "stress": self.stress}


class Misbehaving(Null):
    """Performs the action ``info["do"]`` before it answers."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        act(atoms.info.get("do", ""))
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = float(atoms.positions.sum())
        if atoms.info.get("do") == "nan":
            self.results["forces"] = np.full((len(atoms), 3), np.nan)


class Committee(Calculator):
    """Three springs; results named as MACE names them."""

    implemented_properties = ["energy", "forces", "stress", "energy_comm", "forces_comm"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        moved = atoms.positions - atoms.positions.mean(axis=0)
        factors = np.array([0.9, 1.0, 1.1])
        energies = factors * (moved**2).sum() / 2
        forces = -factors[:, None, None] * moved
        self.results = {
            "energy": energies.mean(),
            "forces": forces.mean(axis=0),
            "stress": np.zeros(6),
            "energy_comm": energies,
            "forces_comm": forces,
            "stress_comm": np.zeros((3, 6)),
        }


def download():
    """Write files as model libraries do: weights in a cache, a lock file beside them, settings."""
    cache = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = os.path.join(cache, "probe")
    path = os.path.join(folder, "weights.bin")
    if not os.path.exists(path):
        if os.environ.get("HF_HUB_OFFLINE"):
            raise OSError("offline, and no weights")
        os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(b"w" * 1000)
    with open(path + ".lock", "w") as stream:
        stream.write("locked")
    with open(path, "rb") as stream:
        stream.read()
    for name in ("XDG_CONFIG_HOME", "TRITON_CACHE_DIR", "MPLCONFIGDIR"):
        os.makedirs(os.environ[name], exist_ok=True)
        with open(os.path.join(os.environ[name], "written"), "w") as stream:
            stream.write("x")


class Crash(Null):
    """Fails in its n-th call, or when its process ends."""

    def __init__(self, failure, when):
        super().__init__()
        self.failure, self.when, self.calls = failure, when, 0
        if when == "close":
            import atexit

            atexit.register(crash, failure)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.when == str(self.calls):
            if self.failure in SPOILED:
                self.results = SPOILED[self.failure](len(atoms))
            else:
                crash(self.failure)


SPOILED = {
    "atoms": lambda n: {"energy": 0.0, "forces": np.zeros((n + 1, 3))},
    "nan": lambda n: {"energy": 0.0, "forces": np.full((n, 3), np.nan)},
    "nan energy": lambda n: {"energy": float("nan"), "forces": np.zeros((n, 3))},
    "nan free energy": lambda n: {"energy": 0.0, "free_energy": np.nan, "forces": np.zeros((n, 3))},
    "dtype": lambda n: {"energy": 0.0, "forces": np.zeros((n, 3), complex)},
    "text": lambda n: {"energy": "low", "forces": np.zeros((n, 3))},
    "stress": lambda n: {"energy": 0.0, "forces": np.zeros((n, 3)), "stress": np.zeros(5)},
}


def wire():
    """Return the socket to the main process, which a model library must not use."""
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                return int(name)
        except OSError:
            continue
    raise OSError("no socket")


def crash(failure):
    print("these are my last words:", failure, flush=True)
    if failure == "half a reply":
        os.write(wire(), b"FORCER")
        os._exit(0)
    if failure == "half a reply, then nothing":
        os.write(wire(), b"FORCEREADY")
        time.sleep(600)
    if failure == "garbage":
        os.write(wire(), b"\xff" * 4096)
        time.sleep(600)
    if failure == "close socket":
        os.close(wire())
        time.sleep(600)
    if failure == "memory":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        raise MemoryError(len(bytearray(2**33)))
    if failure == "loop":
        while True:
            pass
    if failure == "stdout":
        while True:
            print("x" * 1000)
    if failure == "exit 0":
        sys.exit(0)
    if failure == "exit 1":
        sys.exit(1)
    if failure == "os._exit":
        os._exit(3)
    act({"dozen helpers": "helpers", "SIGSEGV": "segfault"}.get(failure, failure))


def act(action):
    if action == "raise":
        raise RuntimeError("the model's own words")
    if action == "raise-oddly":

        class OddError(Exception):
            def __str__(self):
                raise ValueError

        raise OddError
    if action == "missing":
        from ase.calculators.calculator import PropertyNotImplementedError

        raise PropertyNotImplementedError("not today")
    if action.startswith("exit-"):
        print("last words on stdout")
        os._exit(int(action[5:]))
    if action == "sys.exit":
        sys.exit(3)
    if action.startswith("SIG"):
        print("before the signal", file=sys.stderr)
        os.kill(os.getpid(), getattr(signal, action))
        time.sleep(60)
    if action == "segfault":
        import ctypes

        ctypes.string_at(0)
    if action.startswith("sleep-"):
        time.sleep(float(action[6:]))
    if action == "helpers":  # helper processes that inherit all they can and outlive their parent
        for _ in range(12):
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        os._exit(1)
    if action == "noise":
        for _ in range(2000):
            print("x" * 10000)
    if action == "false":
        import subprocess

        if subprocess.run(["false"], check=False).returncode != 1:
            raise RuntimeError("a process that failed seems to have ended well")
    if action == "stderr":
        sys.stderr.write("x" * 10**6)
    if action == "some noise":
        print("x" * 10000)
    if action == "close":
        for descriptor in range(3, 50):
            try:
                os.close(descriptor)
            except OSError:
                continue


def setup(model, device, **options):
    print("loading", model, "on", device)
    if model == "crash":
        if options["when"] == "setup":
            crash(options["failure"])
        return Crash(**options)
    if model == "null":
        return Null()
    if model == "reference":
        return Reference()
    if model == "misbehaving":
        return Misbehaving()
    if model == "emt":
        from ase.calculators.emt import EMT

        return EMT()
    if model == "committee":
        return Committee()
    if model == "downloads":
        download()
        return Null()
    if model == "none":
        return None
    if model == "number":
        return 42
    if model == "options":
        calculator = Null()
        calculator.implemented_properties = ["energy", *map(repr, sorted(options.items()))]
        return calculator
    if model == "world":
        return World()
    if model.startswith("do-"):
        act(model[3:])
        return Null()
    raise ValueError(f"no model {model!r}")


class World(Calculator):
    """Returns the worker's variables, paths, arguments and modules."""

    implemented_properties = ["energy"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.results = {
            "energy": 0.0,
            "environ": dict(os.environ),
            "path": list(sys.path),
            "cwd": os.getcwd(),
            "argv": list(sys.argv),
            "modules": [name for name in sys.modules if "rootstock" in name],
            "python": list(sys.version_info[:3]),
            "stdin": sys.stdin.read(),
        }


if os.environ.get("PROBE_AT_IMPORT"):
    crash(os.environ["PROBE_AT_IMPORT"])
