"""Values that are sent as JSON: bit for bit, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from rootstock.errors import ProtocolError
from rootstock.protocol.values import UntransferableError, decode, dumps, encode, encode_info, loads
from tests.support.comparisons import identical
from tests.support.strategies import nested


@settings(deadline=None)
@given(nested)
def test_values_come_back_bit_for_bit(value):
    assert identical(decode(loads(dumps(encode(value)), "x")), value)


def test_values_that_cannot_be_sent_are_refused_or_left_out():
    with pytest.raises(UntransferableError):
        encode(object())
    with pytest.raises(UntransferableError):
        encode(np.array([object()]))
    deep: list = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(UntransferableError):
        encode(deep)
    assert decode(loads(encode_info({"a": 1, "b": object()}), "x")) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        b'{"#array": ["|O", [1], "AAAAAAAAAAA="]}',
        b'{"#array": [1]}',
        b'{"#array": ["<f8", [2], "AAAA"]}',
        b'{"#complex": [1, 2, 3]}',
        b'{"#bytes": "%"}',
        b'{"#dict": 5}',
        b'{"#array": ["01f8,f8", [0], ""]}',  # NumPy would evaluate a part of that
        b'{"#array": ["<f8", null, ""]}',
        b'{"#array": [["<f8"], [0], ""]}',
    ],
)
def test_malformed_values_are_protocol_errors(text):
    with pytest.raises(ProtocolError):
        decode(loads(text, "x"))


def test_values_that_are_nested_too_deeply():
    data: object = 1
    for _ in range(100_000):
        data = [data]
    with pytest.raises(ProtocolError, match="too deeply"):
        decode(data)
