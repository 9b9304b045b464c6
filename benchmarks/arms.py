"""Starting the processes that are compared, and sending them requests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.version import Version

from rootstock import WorkerSpec, find_root, prepare
from rootstock.environments.build import interpreter_for
from rootstock.environments.uv import Uv
from rootstock.errors import BuildError
from rootstock.runtime.arguments import make_spec
from rootstock.support.progress import Progress

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "arm.py"
NULL = HERE / "environments" / "null_env.py"
#: Titles of the arms in tables.
TITLES = {
    "direct": "direct",
    "rootstock": "Rootstock",
    "ase": "ASE socket",
    "peer": "rootstock 1.6.4",
    "floor": "bare socket",
    "torch-sim": "torch-sim 0.6.2",
}
PEER = "rootstock==1.6.4"
TORCH_SIM = "torch-sim-atomistic==0.6.2"
#: Atoms in a batch of torch-sim on a CPU, where it can't estimate the memory: those of the largest
#: structure; 128 to 1,024 were not faster.
_BATCH_ATOMS = 64
_PEER_SOURCE = """

CHECKPOINTS = {"null": "null"}


def setup(checkpoint, device):
    return _null()
"""
#: Appended to an environment file: how long the model's own calculate() takes.
_STOPWATCH = """

_setup = setup


def setup(model, device, **options):
    import time

    calc = _setup(model, device, **options)
    calculate = calc.calculate

    def timed(*args, **kwargs):
        started = time.perf_counter()
        calculate(*args, **kwargs)
        calc.results["benchmark_seconds"] = time.perf_counter() - started

    calc.calculate = timed
    return calc
"""


class Arm:
    """A process of ``arm.py``, in which one kind of calculator is timed.

    Parameters
    ----------
    python : path-like
        The interpreter.
    kind : str
        One of :data:`TITLES`.
    config : dict
        Arguments of that kind's class in ``arm.py``.
    threads : int
        CPU threads.
    """

    def __init__(
        self, python: str | os.PathLike[str], kind: str, config: dict, threads: int = 1
    ) -> None:
        count = str(threads)
        variables = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        variables["ROOTSTOCK_DISABLE_USAGE_STATS"] = (
            "1"  # the peer's, which must not count benchmarks
        )
        self.kind = kind
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with the arm
        self._process = subprocess.Popen(
            [os.fspath(python), "-I", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=variables,
            text=True,
            bufsize=1,
        )
        self._ask({"kind": kind, **config})

    def ask(self, do: str, **request: object) -> dict:
        """Have the process `do` something; return its answer."""
        return self._ask({"do": do, **request})

    def _ask(self, request: dict) -> dict:
        self._process.stdin.write(json.dumps(request) + "\n")
        answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            self._errors.seek(0)
            tail = self._errors.read()[-2000:] or "(no output: out of memory?)"
            msg = f"arm {self.kind} ended with {status} at {request}:\n{tail}"
            raise RuntimeError(msg)
        return json.loads(answer)

    @property
    def pid(self) -> int:
        """Process id of the main process."""
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """Process ids of the worker and its helpers."""
        return _descendants(self.pid)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def _descendants(pid: int) -> list[int]:
    pids = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            pids += [child, *_descendants(child)]
    return pids


class Launcher:
    """Starts the arms, each in its environment.

    Parameters
    ----------
    root : Path
        Rootstock's root.
    work : Path
        Folder for the peer and for environment files with a stop-watch.
    device : str
        Device of the models; the model that returns zeros runs on the CPU.
    threads : int
        CPU threads of the models.
    """

    def __init__(self, root: Path, work: Path, device: str = "cpu", threads: int = 1) -> None:
        self.root, self.device, self.threads = find_root(root).path, device, threads
        self._work = work
        work.mkdir(parents=True, exist_ok=True)

    def null(self, kind: str) -> Arm:
        """Start an arm of the model that returns zeros."""
        if kind == "floor":
            return Arm(sys.executable, kind, {})
        if kind == "peer":
            client = self._peer()
            config = {"checkpoint": "null", "root": str(self._work / "peer"), "device": "cpu"}
            return Arm(client, kind, config)
        arguments = self.null_arguments()
        if kind == "rootstock":
            return Arm(sys.executable, kind, arguments)
        direct = {"file": str(NULL), "argument": "", "device": "cpu", "threads": 1, "options": {}}
        python = _interpreter(make_spec(**arguments))
        if kind == "ase":
            return Arm(sys.executable, kind, {"python": python, **direct})
        return Arm(python, kind, direct)

    def null_arguments(self) -> dict:
        """Return the arguments of the calculator for the model that returns zeros."""
        return {
            "model": None,
            "environment": str(NULL),
            "root": str(self.root),
            "device": "cpu",
            "threads": 1,
        }

    def model(self, kind: str, text: str, *, stopwatch: bool = True) -> Arm:
        """Start an arm of a real model, ``"direct"`` or ``"rootstock"``."""
        python, direct = self.direct(text)
        if stopwatch:
            direct["file"] = self._with_stopwatch(Path(direct["file"]))
        if kind == "direct":
            return Arm(python, kind, direct, self.threads)
        arguments = {
            **self.calculator_arguments(text),
            "instrumented": direct["file"] if stopwatch else None,
        }
        return Arm(sys.executable, kind, arguments, self.threads)

    def calculator_arguments(self, text: str) -> dict:
        """Return the arguments of the calculator for a model."""
        options = {"root": str(self.root), "device": self.device, "threads": self.threads}
        return {"model": self._weights(text), **options}

    def direct(self, text: str) -> tuple[str, dict]:
        """Return a model's interpreter and the arguments of ``arm.load``."""
        spec = make_spec(**self.calculator_arguments(text))
        return _interpreter(spec), {
            "file": str(spec.environment.file.path),
            "argument": spec.argument,
            "device": self.device,
            "threads": self.threads,
            "options": spec.setup_options,
        }

    def torch_sim(self, text: str) -> Arm:
        """Start an arm of SevenNet through torch-sim.

        Raises
        ------
        BuildError
            torch-sim can't be installed, for example without a Python that it supports.
        """
        python, direct = self.direct(text)
        config = {
            "model": direct["argument"] or "7net-0",
            "device": self.device,
            "threads": self.threads,
            "batch_atoms": _BATCH_ATOMS if self.device == "cpu" else None,
        }
        return Arm(self._with_torch_sim(python), "torch-sim", config, self.threads)

    def _with_torch_sim(self, python: str) -> Path:
        """Install torch-sim beside the same SevenNet and PyTorch as `python` has."""
        uv = Uv(Progress())
        pythons = [i for i in uv.interpreters() if i.version >= Version("3.12")]
        if not pythons:
            msg = f"{TITLES['torch-sim']} needs Python 3.12 or newer, which this machine lacks"
            raise BuildError(msg)
        ask = "from importlib.metadata import version as v; print(v('sevenn'), v('torch'))"
        printed = subprocess.run([python, "-I", "-c", ask], check=True, capture_output=True)
        sevenn, torch = (Version(text).public for text in printed.stdout.decode().split())
        packages = [TORCH_SIM, f"sevenn[torchsim]=={sevenn}", f"torch=={torch}"]
        folder = self._work / "torch-sim"
        done, inside = folder / "done", folder / "bin" / "python"
        if not done.exists() or done.read_text().split() != packages:
            purpose = f"installing {TITLES['torch-sim']}"
            # the oldest of them: most packages have wheels for it
            uv.run(["venv", "--clear", "--python", pythons[-1].path, folder], purpose)
            # uv refuses an empty variable
            variables = {"UV_TORCH_BACKEND": os.environ.get("UV_TORCH_BACKEND") or None}
            command = ["pip", "install", "--python", inside, *packages]
            uv.run(command, purpose, variables=variables)
            done.write_text("\n".join(packages))
        return inside

    def _with_stopwatch(self, file: Path) -> str:
        copy = self._work / f"timed_{file.name}"
        copy.write_text(file.read_text() + _STOPWATCH)
        return str(copy)

    def _weights(self, text: str) -> str:
        """Return the model string; ``"mace-random"`` is a small MACE that is made here."""
        if text != "mace-random":
            return text
        weights = self._work / "random-mace.model"
        if not weights.exists():
            python = _interpreter(make_spec("mace", root=str(self.root), check_weights=False))
            command = [python, "-I", HERE / "make_random_mace.py", weights, "32"]
            subprocess.run(command, check=True, capture_output=True)
        return f"mace-{weights}"

    def _peer(self) -> Path:
        """Install the compared PyPI package as its users do; return its client's interpreter."""
        client, inside = self._work / "peer-client", self._work / "peer" / "envs" / "null"
        for folder, packages in ((client, [PEER]), (inside, [PEER, "ase", "numpy"])):
            if not (folder / "done").exists():
                subprocess.run([sys.executable, "-m", "venv", folder], check=True)
                command = [folder / "bin" / "pip", "install", "-q", *packages]
                subprocess.run(command, check=True)
                (folder / "done").touch()
        model = NULL.read_text().replace("def setup(", "def _null(")
        (inside / "env_source.py").write_text(model + _PEER_SOURCE)
        return client / "bin" / "python"


def _interpreter(spec: WorkerSpec) -> str:
    """Return the interpreter of a model's environment, which is built if needed."""
    spec = prepare(spec)
    return str(interpreter_for(spec.environment, spec.build))


@contextlib.contextmanager
def running(start, kinds):
    """Start an arm of each kind by ``start(kind)``; end all of them."""
    with contextlib.ExitStack() as stack:
        yield {kind: stack.enter_context(contextlib.closing(start(kind))) for kind in kinds}
