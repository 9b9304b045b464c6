"""What the fuzzer starts from: for each target some bytes as the real other side would send them."""

from pathlib import Path

import numpy as np
from ase import Atoms

import rootstock
from rootstock.atoms import take
from rootstock.protocol import messages as m
from rootstock.protocol.host import _topology_message
from rootstock.protocol.values import dumps, encode

RESULTS = {"energy": 1.0, "forces": np.zeros((2, 3)), "stress": np.zeros(6)}
ATOMS = Atoms("CuO", [[0, 0, 0], [1, 1, 1]], cell=np.eye(3) * 4, pbc=True, info={"charge": 1})
VALUES = {
    "array": np.arange(6.0).reshape(2, 3),
    "scalar": np.float32(1.5),
    "others": (1, b"bytes", 1 + 2j, float("nan"), float("inf"), {1: "one", "two": [2, None]}),
}
CONFIG = b"""root = "/some/where"
[clusters]
della = "/shared/rootstock"
"""


def step() -> bytes:
    """Return a topology and a step of ours."""
    structure = take(ATOMS)
    request = m.GETFORCE + m.PROPERTIES.pack(3)
    parts = [structure.cell.tobytes(), m.INTEGER.pack(2), structure.positions.tobytes(), request]
    return b"".join(map(bytes, [*_topology_message(structure.topology), m.POSDATA, *parts]))


def replies() -> list[bytes]:
    """Return what a worker of ours says to a step: results, other results, an error."""
    found = []
    for results in (RESULTS, {**RESULTS, **VALUES}):
        entries, payload, others = m.describe(results)
        layout = m.json_message(m.LAYOUT, {"layout": entries, "values": others})
        found.append(b"".join(map(bytes, [layout, m.FORCEREADY, *payload])))
    error = {"type": "KeyError", "bases": ["KeyError"], "message": "x", "traceback": "y"}
    return [*found, m.json_message(m.FAILED, error)]


def foreign_request(natoms: int = 2) -> bytes:
    """Return a step of i-PI."""
    cell = np.eye(3).tobytes()
    positions = np.zeros((natoms, 3)).tobytes()
    return m.POSDATA + cell + cell + m.INTEGER.pack(natoms) + positions + m.GETFORCE


def foreign_answer(extra: bytes) -> bytes:
    """Return an answer of i-PI's clients."""
    forces, virial = np.zeros((2, 3)).tobytes(), np.zeros((3, 3)).tobytes()
    head = m.FORCEREADY + np.float64(1).tobytes() + m.INTEGER.pack(2)
    return head + forces + virial + m.INTEGER.pack(len(extra)) + extra


def seeds() -> dict[str, list[bytes]]:
    """Return the seeds by target."""
    load = m.init_message(
        {"rootstock": m.EXTENSION_VERSION, "load": encode({"argument": "x", **VALUES})}
    )
    report = {"implemented_properties": ["energy", "forces"]}
    bead = m.INIT + m.INTEGER.pack(0) + m.INTEGER.pack(1) + b" "
    batch = m.INIT + m.INTEGER.pack(0) + m.INTEGER.pack(14) + b" batch_size:2 "
    status = m.STATUS
    catalogue = Path(rootstock.__file__).parent / "environments" / "catalogue"
    files = [path.read_bytes() for path in sorted(catalogue.glob("*_env.py"))]
    return {
        "guest": [load, step(), load + step() + step() + m.EXIT, status + load + status],
        "host": [m.json_message(m.READY, report), replies()[-1]],
        "answer": replies(),
        "server": [
            status + foreign_request() + status + m.EXIT,
            status + bead + status + foreign_request(),
            bead + foreign_request(3),
            batch + m.POSDATA + m.INTEGER.pack(2) + bytes(2 * 2 * 72 + 2 * 48) + m.GETFORCE,
        ],
        "client": [foreign_answer(b""), foreign_answer(b'{"dipole": [0, 0, 1]}')],
        "values": [dumps(encode(value)) for value in (VALUES, *VALUES["others"])],
        "environment": [text.partition(b"# /// script\n")[2] for text in files],
        "strings": [b"mace-medium", b"mace-/some/where.pt", b"uma-s-1p1", "mäce".encode()],
        "config": [CONFIG, b'root = "~/x"\ncluster = "della"\n'],
    }
