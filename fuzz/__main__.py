"""Fuzz the readers with atheris (``pip install atheris``): ``python -m fuzz TARGET [libFuzzer options]``.

A target gets arbitrary bytes and may raise only a ``RootstockError``. Any other exception, a hang
or an allocation beyond libFuzzer's limit is a finding.
"""

import contextlib
import os
import socket
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rootstock"]):
    import numpy as np

    from rootstock.environments.environment_file import read_environment_file
    from rootstock.environments.model_strings import resolve
    from rootstock.errors import RootstockError
    from rootstock.ipi.client import Client as IPIClient
    from rootstock.ipi.server import Server as IPIServer
    from rootstock.protocol import messages as m
    from rootstock.protocol.client import run_client
    from rootstock.protocol.data import FixedInputs, Structure
    from rootstock.protocol.frames import Connection
    from rootstock.protocol.server import Server
    from rootstock.protocol.values import UntransferableError, decode, loads
    from rootstock.settings.config import read_config
    from rootstock.settings.root import find_root
    from rootstock.testing import ScriptedModel

    from .seeds import RESULTS, seeds

FOLDER = Path(tempfile.mkdtemp(prefix="rootstock-fuzz-"))
ROOT = find_root(FOLDER)


@contextlib.contextmanager
def peer(data: bytes):
    """Connect to a peer that has sent `data` and has closed its end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        theirs.send(data)
    theirs.shutdown(socket.SHUT_WR)
    connection = Connection(ours, 1.0)
    try:
        yield connection
    finally:
        connection.close()
        theirs.close()


def client(data: bytes) -> None:
    """Our client reads what a server sends."""
    with peer(data) as connection:
        run_client(connection, ScriptedModel(RESULTS))


def server(data: bytes) -> None:
    """Our server reads the reply to a load."""
    with peer(data) as connection:
        Server(connection).load({})


def reply(data: bytes) -> None:
    """Our server reads the reply to a step."""
    fixed_inputs = FixedInputs({"numbers": np.array([1, 1]), "pbc": np.zeros(3, bool)})
    report = m.json_message(m.READY, {"implemented_properties": ["energy", "forces"]})
    with peer(report + data) as connection:
        server_side = Server(connection)
        server_side.load({})
        structure = Structure(fixed_inputs, np.zeros((2, 3)), np.eye(3))
        server_side.evaluate_one(structure, ["forces"])


def ipi_client(data: bytes) -> None:
    """The i-PI client reads what an external server sends."""
    with peer(data) as connection:
        IPIClient(connection, lambda *_: RESULTS, 2, ["energy", "forces", "stress"]).run()


def ipi_server(data: bytes) -> None:
    """The i-PI server reads the reply of an external client."""
    with peer(m.READY + data) as connection:
        IPIServer(connection).evaluate_one(np.zeros((2, 3)), np.eye(3))


def values(data: bytes) -> None:
    """Decode JSON values of messages."""
    with contextlib.suppress(UntransferableError):
        decode(loads(data, "fuzz"))


def environment(data: bytes) -> None:
    """Read an environment file."""
    path = FOLDER / "x_env.py"
    path.write_bytes(b"# /// script\n" + data)
    read_environment_file(path, "x", "file")


def model_string(data: bytes) -> None:
    """Resolve a model string."""
    resolve(data.decode("utf-8", "surrogateescape"), ROOT)


def config(data: bytes) -> None:
    """Read a config file."""
    path = FOLDER / "config.toml"
    path.write_bytes(data)
    os.environ["ROOTSTOCK_CONFIG"] = str(path)
    read_config()


TARGETS = {
    f.__name__: f
    for f in (
        client,
        server,
        reply,
        ipi_client,
        ipi_server,
        values,
        environment,
        model_string,
        config,
    )
}


def main() -> None:
    name = sys.argv.pop(1)
    if all(word.startswith("-") for word in sys.argv[1:]):  # without a corpus of the caller's
        sys.argv.append(str(FOLDER / "corpus"))
        (FOLDER / "corpus").mkdir()
        for number, seed in enumerate(seeds()[name]):
            (FOLDER / "corpus" / str(number)).write_bytes(seed)

    def target(data: bytes) -> None:
        with contextlib.suppress(RootstockError):
            TARGETS[name](data)

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
