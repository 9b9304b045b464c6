"""Messages: layouts and lengths are checked before memory is taken."""

from __future__ import annotations

import numpy as np
import pytest

from rootstock.errors import ProtocolError
from rootstock.protocol import messages as m
from rootstock.protocol.values import decode, dumps, loads
from tests.support.comparisons import identical


def test_layout_round_trip_keeps_bits_and_types():
    values = {
        "f": np.arange(6.0).reshape(2, 3)[:, ::2],
        "f4": np.float32(0.1),
        "zero_d": np.array(5, np.int32),
        "empty": np.zeros((0, 3)),
        "flags": np.array([True, False, True]),
        "z": np.array([1 + 2j]),
        "energy": -0.1,
        "n": 3,
        "big": 2**70,
        "text": "ü",
        "lost": object(),
    }
    entries, payload, others = m.describe(values)
    layout = m.Layout.parse(loads(dumps(entries), "x"))
    raw = b"".join(bytes(p) for p in payload)
    assert len(raw) == layout.nbytes
    decoded = layout.views(np.frombuffer(raw, np.uint8).copy()) | decode(others)
    assert list(others) == ["big", "text"]
    assert all(
        identical(decoded[k], np.asarray(v, order="C") if isinstance(v, np.ndarray) else v)
        for k, v in values.items()
        if k != "lost"
    )
    assert "lost" not in decoded


@pytest.mark.parametrize(
    "layout",
    [
        [["x", "<f8", [2**40], "array"]],
        [["x", "<f8", [-1], "array"]],
        [["x", "|O", [1], "array"]],
        [["x", "nonsense", [1], "array"]],
        [["x", "<f8"]],
        [["x", "<f8", [1], "arr!y"]],
        [["x", "<f8", [1], "scalar"]],
        [["x", "<c16", [], "float"]],
        [["x", "<f8", [0, 2**62, 2**62], "array"]],
        [["x", "<f8", [1] * 70, "array"]],
        [["x", "<f8", [float("inf")], "array"]],
        [["x", "<M8[s]", [1], "array"]],
        [[1, "<f8", [1], "array"]],
        7,
        None,
    ],
)
def test_bad_layouts_are_refused_before_memory_is_taken(layout):
    with pytest.raises(ProtocolError):
        m.Layout.parse(layout)


@pytest.mark.parametrize("length", [-1, 2**31 - 1, m.MAX_JSON + 1])
def test_bad_lengths_are_refused_before_memory_is_taken(pair, length):
    connection, peer = pair
    peer.sendall(m.INTEGER.pack(length))
    with pytest.raises(ProtocolError, match="announced"):
        m.read_json(connection, "a thing")
