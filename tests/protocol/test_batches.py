"""Many structures in one request: what is sent, what streams back, what remains after failures."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock.errors import (
    BatchError,
    CallTimeoutError,
    ModelError,
    OutOfMemoryError,
    PeerClosedError,
    PropertyMissingError,
)
from rootstock.protocol import messages as m
from rootstock.structures import from_atoms
from rootstock.testing import ScriptedModel, connected


def copper(shift: float = 0.0, **info):
    atoms = bulk("Cu", cubic=True)
    atoms.positions += shift
    atoms.info.update(info)
    return from_atoms(atoms)


def by_position(call):
    """Results that depend on the structure; fails as its ``info`` says."""
    error = call["info"].get("error")
    if error is not None:
        raise {"memory": MemoryError, "value": ValueError}[error]("as info said")
    return {"energy": float(call["positions"].sum()), "natoms": len(call["positions"])}


def replies(server, number: int) -> list:
    found = []
    for _ in range(number):
        try:
            found.append(server.next_results()["energy"])
        except (ModelError, PropertyMissingError) as error:
            found.append(type(error))
    return found


@pytest.mark.parametrize("together", [False, True])
def test_every_structure_gets_its_reply(together):
    structures = [copper(0.1 * n) for n in range(5)]
    structures += [from_atoms(molecule("H2O")), copper(charge=1)]
    model = ScriptedModel(by_position)
    with connected(model) as server:
        server.send_batch(structures, ["energy"], together=together)
        assert server.reply_pending and not server.synchronised
        expected = [float(s.positions.sum()) for s in structures]
        assert replies(server, len(structures)) == expected
        assert server.synchronised and not server.reply_pending
    for call, structure in zip(model.calls, structures, strict=True):
        assert (call["positions"] == structure.positions).all()
        assert (call["cell"] == structure.cell).all()
        assert call["properties"] == ["energy"]
        assert (call["arrays"]["numbers"] == structure.fixed_inputs.arrays["numbers"]).all()
    assert model.calls[-1]["info"] == {"charge": 1}


def test_fixed_inputs_are_sent_when_they_change():
    model = ScriptedModel(by_position)
    with connected(model) as server:
        server.send_batch([copper(0.1 * n) for n in range(5)], ["energy"], together=False)
        replies(server, 5)
        assert model.fixed_inputs_received == 1
        server.send_batch([copper(), copper(), copper(charge=1)], ["energy"], together=False)
        replies(server, 3)
        assert model.fixed_inputs_received == 3


def test_steps_and_batches_take_turns():
    with connected(ScriptedModel(by_position)) as server:
        for shift in (0.0, 0.5, 1.0):
            one = copper(shift)
            expected = float(one.positions.sum())
            assert server.evaluate_one(one, ["energy"])["energy"] == expected
            server.send_batch([one, copper(2.0)], ["energy"], together=shift > 0)
            assert replies(server, 2)[0] == expected


@pytest.mark.parametrize("together", [False, True])
def test_errors_are_those_of_their_structures(together):
    structures = [copper(), copper(error="value"), copper(error="memory"), copper(1.0)]
    with connected(ScriptedModel(by_position)) as server:
        server.send_batch(structures, ["energy"], together=together)
        first, second, third, last = replies(server, 4)
        assert (second, third) == (ModelError, OutOfMemoryError)
        assert last > first
        assert server.synchronised


class Failing(ScriptedModel):
    """Fails as a whole."""

    def __init__(self, error: Exception) -> None:
        super().__init__({"energy": 1.0})
        self._error = error

    def evaluate_together(self, structures, properties):
        raise self._error


@pytest.mark.parametrize(
    ("error", "out_of_memory"),
    [
        (ValueError("no"), False),
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: 2 GiB"), True),
    ],
)
def test_a_batch_that_fails_as_a_whole_has_one_reply(error, out_of_memory):
    with connected(Failing(error)) as server:
        server.send_batch([copper(), copper(1.0)], ["energy"], together=True)
        with pytest.raises(BatchError) as caught:
            server.next_results()
        assert caught.value.out_of_memory is out_of_memory
        assert server.synchronised
        assert server.evaluate_one(copper(), ["energy"]) == {"energy": 1.0}


def test_the_rest_of_a_batch_is_discarded():
    with connected(ScriptedModel(by_position)) as server:
        server.send_batch([copper(), copper(error="value"), copper()], ["energy"], together=False)
        server.next_results()
        server.discard(time.monotonic() + 5)
        assert server.synchronised
        assert server.evaluate_one(copper(), ["energy"])["natoms"] == 4


def test_a_time_limit_in_mid_batch_keeps_what_came():
    def slow(call):
        time.sleep(call["info"].get("sleep", 0))
        return {"energy": 1.0}

    with connected(ScriptedModel(slow)) as server:
        server.send_batch([copper(), copper(sleep=1), copper()], ["energy"], together=False)
        assert server.next_results(time.monotonic() + 5) == {"energy": 1.0}
        with pytest.raises(CallTimeoutError):
            server.next_results(time.monotonic() + 0.1)
        assert server.reply_pending
        server.discard(time.monotonic() + 5)
        assert server.synchronised


def test_results_of_other_shapes_bring_their_layout():
    def results(call):
        return {"energy": 0.0, "forces": np.zeros_like(call["positions"])}

    structures = [from_atoms(Atoms("H" * n, np.ones((n, 3)))) for n in (1, 3, 3, 2)]
    with connected(ScriptedModel(results)) as server:
        server.send_batch(structures, ["forces"], together=False)
        shapes = [server.next_results()["forces"].shape for _ in structures]
        assert shapes == [(1, 3), (3, 3), (3, 3), (2, 3)]


@pytest.mark.parametrize(
    "head",
    [
        m.BATCH_HEAD.pack(0, 1, 0, 0),
        m.BATCH_HEAD.pack(1, 1, 0, -1),
        m.BATCH_HEAD.pack(1, 1, 0, 2**40),
        m.BATCH_HEAD.pack(1, 1, 0, 12) + m.POSDATA,
        m.BATCH_HEAD.pack(1, 1, 0, 12) + m.EXIT,
    ],
)
def test_a_malformed_batch_ends_the_connection(head):
    with connected(ScriptedModel({"energy": 1.0})) as server:
        server._write([m.BATCH + head + bytes(200)])
        with pytest.raises(PeerClosedError):
            server.next_results(time.monotonic() + 5)
