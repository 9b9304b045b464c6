"""Fuzz the readers with atheris (``pip install atheris``): ``python -m fuzz TARGET [libFuzzer options]``.

A target gets arbitrary bytes and may raise only errors of ours. A hang, any other exception, or an
allocation beyond libFuzzer's limit is a finding.
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

    from rootstock.config import read_config
    from rootstock.environments.header import read_environment_file
    from rootstock.environments.model_strings import resolve
    from rootstock.errors import RootstockError
    from rootstock.protocol import messages as m
    from rootstock.protocol.foreign_guest import ForeignGuest
    from rootstock.protocol.foreign_host import ForeignHost
    from rootstock.protocol.frames import Connection
    from rootstock.protocol.guest import serve
    from rootstock.protocol.host import Host
    from rootstock.protocol.values import UntransferableError, decode, loads
    from rootstock.root import Root
    from rootstock.testing import ScriptedModel

    from .seeds import RESULTS, seeds

FOLDER = Path(tempfile.mkdtemp(prefix="rootstock-fuzz-"))


@contextlib.contextmanager
def peer(data: bytes):
    """Connect to somebody who has said `data` and has left."""
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


def guest(data: bytes) -> None:
    """A host that says anything to a worker."""
    with peer(data) as connection:
        serve(connection, ScriptedModel(RESULTS))


def host(data: bytes) -> None:
    """A worker that answers anything."""
    with peer(data) as connection:
        driver = Host(connection)
        driver.load({})


def answer(data: bytes) -> None:
    """A worker that answers a step with anything."""
    from rootstock.data import Structure, Topology

    topology = Topology({"numbers": np.array([1, 1]), "pbc": np.zeros(3, bool)})
    report = m.json_message(m.READY, {"implemented_properties": ["energy", "forces"]})
    with peer(report + data) as connection:
        driver = Host(connection)
        driver.load({})
        driver.compute(Structure(topology, np.zeros((2, 3)), np.eye(3)), ["forces"])


def server(data: bytes) -> None:
    """A foreign i-PI server that says anything."""
    with peer(data) as connection:
        ForeignGuest(connection, lambda *_: RESULTS, 2, ["energy", "forces", "stress"]).run()


def client(data: bytes) -> None:
    """A foreign i-PI client that answers anything."""
    with peer(m.READY + data) as connection:
        ForeignHost(connection).compute(np.zeros((2, 3)), np.eye(3))


def values(data: bytes) -> None:
    """JSON from the wire."""
    with contextlib.suppress(UntransferableError):
        decode(loads(data, "fuzz"))


def environment(data: bytes) -> None:
    """An environment file."""
    path = FOLDER / "x_env.py"
    path.write_bytes(b"# /// script\n" + data)
    read_environment_file(path, "x", "file")


def strings(data: bytes) -> None:
    """A model string."""
    resolve(data.decode("utf-8", "surrogateescape"), Root(FOLDER))


def config(data: bytes) -> None:
    """A config file."""
    path = FOLDER / "config.toml"
    path.write_bytes(data)
    os.environ["ROOTSTOCK_CONFIG"] = str(path)
    read_config()


TARGETS = {
    f.__name__: f
    for f in (guest, host, answer, server, client, values, environment, strings, config)
}


def main() -> None:
    name = sys.argv.pop(1)
    if all(word.startswith("-") for word in sys.argv[1:]):  # no corpus of the caller's
        sys.argv.append(str(FOLDER / "corpus"))
        (FOLDER / "corpus").mkdir()
        for number, seed in enumerate(seeds()[name]):
            (FOLDER / "corpus" / str(number)).write_bytes(seed)

    def target(data: bytes) -> None:
        with contextlib.suppress(RootstockError):
            TARGETS[name](data)

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


main()
