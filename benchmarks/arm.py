"""One arm of a comparison: a process that makes its calculator and times its own calls.

``python arm.py`` runs in any environment with ASE. It reads a JSON object a line and answers each
with one. The first names the ``kind`` of calculator and its arguments; each further one asks to
``do`` something::

    {"do": "call",     "formula", "natoms", "calls", "seed"}  seconds of each get_forces()
    {"do": "dynamics", "formula", "natoms", "calls", "seed"}  seconds a step of velocity Verlet
    {"do": "start"}                                           seconds to the first energy, twice
    {"do": "many",     "formula", "count", "seed"}            seconds for many structures
    {"do": "check",    "formula", "count", "seed"}            torch-sim: deviations from the model
    {"do": "relax",    "formula", "count", "seed"}            seconds and steps of relaxations
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np

#: Extra result of an instrumented model: seconds inside its ``calculate()``.
INSIDE = "benchmark_seconds"
#: Where a relaxation ends: eV/Å, and steps.
FMAX, MOST_STEPS = 0.01, 100


def supercell(formula, natoms):
    """Return copper (`natoms` a multiple of 4) or rock salt (of 8), as cubic as possible."""
    from ase.build import bulk

    lattice = {"Cu": ("fcc", 3.6), "NaCl": ("rocksalt", 5.64)}[formula]
    unit = bulk(formula, *lattice, cubic=True)
    cells, shape = natoms // len(unit), [1, 1, 1]
    for axis in (0, 1, 2):
        edge = round(cells ** (1 / (3 - axis)))
        while cells % edge:
            edge -= 1
        shape[axis], cells = edge, cells // edge
    atoms = unit * shape
    if len(atoms) != natoms:
        msg = f"{natoms} is not a multiple of {len(unit)}"
        raise ValueError(msg)
    return atoms


def many_structures(formula, count, seed):
    """Return `count` displaced structures of 4 to 64 atoms."""
    generator = np.random.default_rng(seed)
    sizes = {"Cu": (4, 8, 16, 32, 64), "NaCl": (8, 16, 32, 64)}[formula]
    structures = []
    for natoms in generator.choice(sizes, size=count):
        atoms = supercell(formula, int(natoms))
        atoms.positions += generator.normal(scale=0.03, size=(len(atoms), 3))
        structures.append(atoms)
    return structures


def load(file, argument, device, threads, options):
    """Return the calculator of an environment file."""
    spec = importlib.util.spec_from_file_location("_benchmarked", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    calc = module.setup(argument, device, **options)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return calc


class Direct:
    """The model itself, in this process."""

    def __init__(self, file, argument, device, threads, options):
        self._calc = load(file, argument, device, threads, options)

    def calculator(self, _):
        return self._calc

    def call(self, formula, natoms, calls, seed):
        atoms = self._atoms(formula, natoms)
        generator = np.random.default_rng(seed)
        seconds, inside = [], []
        for _ in range(calls):
            atoms.positions += generator.normal(scale=1e-3, size=(natoms, 3))
            started = time.perf_counter()
            atoms.get_forces()
            seconds.append(time.perf_counter() - started)
            inside.append(atoms.calc.results.get(INSIDE))
        return {"seconds": seconds, "inside": inside}

    def many(self, formula, count, seed):
        structures = many_structures(formula, count, seed)
        started = time.perf_counter()
        for atoms in structures:
            atoms.calc = self._calc
            atoms.get_potential_energy()
            atoms.get_forces()
        return {"seconds": [time.perf_counter() - started]}

    def relax(self, formula, count, seed):
        from ase.optimize import FIRE

        structures, steps = many_structures(formula, count, seed), 0
        started = time.perf_counter()
        for atoms in structures:
            atoms.calc = self._calc
            optimizer = FIRE(atoms, logfile=None)
            optimizer.run(fmax=FMAX, steps=MOST_STEPS)
            steps += optimizer.nsteps + 1
        return {"seconds": [time.perf_counter() - started], "steps": steps}

    def dynamics(self, formula, natoms, calls, seed):
        from ase.md.verlet import VelocityVerlet

        atoms = self._atoms(formula, natoms)
        generator = np.random.default_rng(seed)
        atoms.set_momenta(1e-3 * generator.normal(size=(natoms, 3)))
        motion = VelocityVerlet(atoms, timestep=0.1)
        motion.run(1)
        started = time.perf_counter()
        motion.run(calls)
        return {"seconds": [(time.perf_counter() - started) / calls]}

    def _atoms(self, formula, natoms):
        size = (formula, natoms)
        if self.__dict__.get("_size") != size:
            self._current = supercell(formula, natoms)
            self._current.calc = self.calculator(self._current)
            self._size = size
        return self._current


class Rootstock(Direct):
    """The model in a worker of Rootstock."""

    def __init__(self, instrumented=None, **options):
        self._options = options
        self._instrumented = instrumented
        self._calc = self._make()

    def _make(self):
        from dataclasses import replace
        from pathlib import Path

        from rootstock import RootstockCalculator, prepare
        from rootstock.environments.environment_file import read_environment_file

        calc = RootstockCalculator(**self._options)
        if self._instrumented is not None:  # the same environment, its file with a stop-watch
            spec = prepare(calc.spec)
            known = spec.environment.file
            file = read_environment_file(Path(self._instrumented), known.name, known.origin)
            calc._session.spec = replace(spec, environment=replace(spec.environment, file=file))
        return calc

    def start(self):
        atoms = structure(self._options.get("model", "null"))
        seconds, calculators = [], []
        for _ in range(2):
            started = time.perf_counter()
            atoms.calc = self._make()
            atoms.get_potential_energy()
            seconds.append(time.perf_counter() - started)
            calculators.append(atoms.calc)
        for calc in calculators:
            calc.close()
        return {"seconds": seconds}


class Peer(Rootstock):
    """The model in a worker of the PyPI package that is also called rootstock."""

    def _make(self):
        from rootstock import RootstockCalculator

        return RootstockCalculator(**self._options)


class AseSocket(Direct):
    """ASE's SocketIOCalculator here, ASE's SocketClient in the model's environment."""

    def __init__(self, python, **client):
        self._command = [python, "-I", __file__, "client", json.dumps(client)]
        self._calc = None

    def calculator(self, atoms):
        from ase.calculators.socketio import SocketIOCalculator

        if self._calc is not None:
            self._calc.close()
        self._calc = SocketIOCalculator(
            unixsocket=f"rootstock_benchmark_{os.getpid()}", launch_client=self._launch
        )
        return self._calc

    def _launch(self, atoms, _, port=None, unixsocket=None):
        formula = "NaCl" if 11 in atoms.numbers else "Cu"
        return subprocess.Popen([*self._command, unixsocket, formula, str(len(atoms))])


def client(options, unixsocket, formula, natoms):
    """Run the client of :class:`AseSocket`."""
    from ase.calculators.socketio import SocketClient

    atoms = supercell(formula, int(natoms))
    atoms.calc = load(**json.loads(options))
    SocketClient(unixsocket=unixsocket).run(atoms, use_stress=True)


class Floor:
    """The bytes of a step over an AF_UNIX pair, one write and exact reads each way; no ASE."""

    def call(self, formula, natoms, calls, seed):
        request, answer = bytes(120 + 24 * natoms), bytes(76 + 24 * natoms)
        local, peer = socket.socketpair()
        for end in (local, peer):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, 4 * 2**20)
        if os.fork() == 0:
            local.close()
            self._echo(peer, len(request), answer)
        peer.close()
        buffer, seconds = bytearray(len(answer)), []
        with local:
            for _ in range(calls + 5):
                started = time.perf_counter()
                local.sendall(request)
                read(local, buffer)
                seconds.append(time.perf_counter() - started)
        os.wait()
        return {"seconds": seconds[5:], "inside": [None] * calls}

    @staticmethod
    def _echo(sock, expected, answer):
        buffer = bytearray(expected)
        while read(sock, buffer):
            sock.sendall(answer)
        os._exit(0)


class TorchSim:
    """SevenNet in batches of torch-sim, compared with SevenNet's own calculator.

    Parameters
    ----------
    model : str
        SevenNet's name of the weights.
    device : str
        Device of the model.
    threads : int
        CPU threads.
    batch_atoms : int, optional
        Atoms in a batch, at most; by default torch-sim estimates it, which it can't on a CPU.
    """

    #: Largest deviations: eV/atom, eV/Å and eV/Å³. The model computes in float32.
    TOLERANCES = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-5}  # noqa: RUF012  never changed

    def __init__(self, model, device, threads, batch_atoms):
        import torch
        import torch_sim
        from sevenn.calculator import SevenNetCalculator
        from sevenn.torchsim import SevenNetModel

        torch.set_num_threads(threads)
        self._static = torch_sim.static
        self._model = SevenNetModel(model, device=device)
        self._batcher = torch_sim.BinningAutoBatcher(
            self._model, memory_scales_with="n_atoms", max_memory_scaler=batch_atoms
        )
        self._calc = SevenNetCalculator(model, device=device)

    def many(self, formula, count, seed):
        structures = many_structures(formula, count, seed)
        started = time.perf_counter()
        self._evaluate(structures)
        return {"seconds": [time.perf_counter() - started]}

    def check(self, formula, count, seed):
        """Return the largest deviations; raise if one is not within its tolerance."""
        structures = many_structures(formula, count, seed)
        deviations = dict.fromkeys(self.TOLERANCES, 0.0)
        for atoms, values in zip(structures, self._evaluate(structures)):
            atoms.calc = self._calc
            differences = {
                "energy": (values["potential_energy"] - atoms.get_potential_energy()) / len(atoms),
                "forces": values["forces"] - atoms.get_forces(),
                "stress": values["stress"] - atoms.get_stress(voigt=False),
            }
            for name, difference in differences.items():
                deviations[name] = max(deviations[name], float(np.abs(difference).max()))
        if not all(deviations[name] <= most for name, most in self.TOLERANCES.items()):
            msg = f"torch-sim deviates from SevenNet's calculator: {deviations}"
            raise ValueError(msg)
        return deviations

    def _evaluate(self, structures):
        results = self._static(structures, self._model, autobatcher=self._batcher)
        return [{name: v.cpu().numpy() for name, v in values.items()} for values in results]


def read(sock, buffer):
    """Fill `buffer`; return false at the end of the stream."""
    view = memoryview(buffer)
    while view:
        count = sock.recv_into(view)
        if count == 0:
            return False
        view = view[count:]
    return True


def structure(model):
    """Return a few atoms of elements that `model` knows, without slow imports."""
    from ase.atoms import Atoms

    knows_salt = model.startswith(("chgnet", "sevennet"))
    side, a = (4, 2.82) if knows_salt else (3, 2.55)
    grid = np.indices((side, side, side)).reshape(3, -1).T
    numbers = np.where(grid.sum(axis=1) % 2, 11, 17) if knows_salt else np.full(len(grid), 29)
    return Atoms(numbers, positions=grid * a, cell=[side * a] * 3, pbc=True)


def first_energy(model, **options):
    """Calculate the first energy directly, as :meth:`Rootstock.start` does through a worker."""
    atoms = structure(model)
    atoms.calc = load(**options)
    atoms.get_potential_energy()


KINDS = {
    "direct": Direct,
    "rootstock": Rootstock,
    "peer": Peer,
    "ase": AseSocket,
    "floor": Floor,
    "torch-sim": TorchSim,
}


def main():
    wire = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of a model must not be read as an answer
    config = json.loads(sys.stdin.readline())
    arm = KINDS[config.pop("kind")](**config)
    wire.write('{"ready": true}\n')
    for line in sys.stdin:
        request = json.loads(line)
        wire.write(json.dumps(getattr(arm, request.pop("do"))(**request)) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(*sys.argv[2:])
    elif sys.argv[1:2] == ["first-energy"]:
        first_energy(**json.loads(sys.argv[2]))
    else:
        main()
