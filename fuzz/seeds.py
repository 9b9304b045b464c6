"""Seeds for the fuzzer: valid inputs for each target."""

from pathlib import Path

import numpy as np
from ase import Atoms

import rootstock
from rootstock.protocol import messages as m
from rootstock.protocol.server import _fixed_inputs_message
from rootstock.protocol.values import dumps, encode
from rootstock.structures import from_atoms

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
    """Return fixed inputs and a step, as our server sends them."""
    structure = from_atoms(ATOMS)
    request = m.GETFORCE + m.PROPERTIES.pack(3)
    parts = [structure.cell.tobytes(), m.INTEGER.pack(2), structure.positions.tobytes(), request]
    fixed_inputs = _fixed_inputs_message(structure.fixed_inputs)
    return b"".join(map(bytes, [*fixed_inputs, m.POSDATA, *parts]))


def replies() -> list[bytes]:
    """Return replies of our client to a step: results, further results, an error."""
    messages = []
    for results in (RESULTS, {**RESULTS, **VALUES}):
        entries, payload, others = m.describe(results)
        layout = m.json_message(m.LAYOUT, {"layout": entries, "values": others})
        messages.append(b"".join(map(bytes, [layout, m.FORCEREADY, *payload])))
    error = {"type": "KeyError", "bases": ["KeyError"], "message": "x", "traceback": "y"}
    return [*messages, m.json_message(m.FAILED, error)]


def ipi_request(natoms: int = 2) -> bytes:
    """Return a step, as an i-PI server sends it."""
    cell = np.eye(3).tobytes()
    positions = np.zeros((natoms, 3)).tobytes()
    return m.POSDATA + cell + cell + m.INTEGER.pack(natoms) + positions + m.GETFORCE


def ipi_reply(extra: bytes) -> bytes:
    """Return a reply, as an i-PI client sends it."""
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
        "client": [load, step(), load + step() + step() + m.EXIT, status + load + status],
        "server": [m.json_message(m.READY, report), replies()[-1]],
        "reply": replies(),
        "ipi_client": [
            status + ipi_request() + status + m.EXIT,
            status + bead + status + ipi_request(),
            bead + ipi_request(3),
            batch + m.POSDATA + m.INTEGER.pack(2) + bytes(2 * 2 * 72 + 2 * 48) + m.GETFORCE,
        ],
        "ipi_server": [ipi_reply(b""), ipi_reply(b'{"dipole": [0, 0, 1]}')],
        "values": [dumps(encode(value)) for value in (VALUES, *VALUES["others"])],
        "environment": [text.partition(b"# /// script\n")[2] for text in files],
        "model_string": [b"mace-medium", b"mace-/some/where.pt", b"uma-s-1p1", "mäce".encode()],
        "config": [CONFIG, b'root = "~/x"\ncluster = "della"\n'],
    }
