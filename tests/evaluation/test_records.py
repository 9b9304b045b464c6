"""Results, errors and structures as bytes, and back."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixedPlane, Hookean
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_arrays

from rootstock import errors
from rootstock.errors import (
    BatchError,
    ModelError,
    OutputError,
    RemoteTracebackError,
    RootstockError,
    UnknownNameError,
    WorkerDiedError,
)
from rootstock.evaluation.records import (
    pack,
    pack_atoms,
    pack_outcome,
    unpack,
    unpack_atoms,
    unpack_outcome,
)

VALUES = {
    "energy": -1.25,
    "count": 3,
    "large": 10**30,
    "single": np.float32(0.1),
    "half": np.float16(2),
    "flag": np.bool_(True),
    "yes": True,
    "none": None,
    "text": "é",
    "raw": b"\x00\xff",
    "complex": 1 - 2j,
    "infinite": float("-inf"),
    "float32": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
    "big_endian": np.arange(3, dtype=">f8"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(10.0)[::3],
    "zero_d": np.array(5.0),
    "empty": np.zeros((0, 3), np.float32),
    "negative_zero": np.array([-0.0, 0.0]),
    "bytes_of_nan": np.array([0x7FF0000000000001], np.uint64).view(np.float64),
    "bool": np.array([True, False]),
    "int8": np.array([[-1]], np.int8),
    "complex64": np.array([1 + 1j], np.complex64),
    "words": np.array(["ab", "c"]),
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "nested": {"a": [1, (2, np.arange(2, dtype=np.int16))], 3: "three"},
    "#reserved": [{"#array": 1}],
    "": "no name",
}


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, (np.ndarray, np.generic)):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_same(a, b)
    else:
        assert one == other


def test_values_come_back_bit_for_bit():
    assert_same(unpack(pack(VALUES)), VALUES)


@pytest.mark.parametrize("name", VALUES)
def test_each_value_alone(name):
    assert_same(unpack_outcome(pack_outcome({name: VALUES[name]})), {name: VALUES[name]})


@given(
    numpy_arrays.arrays(
        st.sampled_from(["<f4", "<f8", ">f4", "<i8", "|u1", "|b1", "<c16", "<f2"]),
        numpy_arrays.array_shapes(min_dims=0, min_side=0),
    )
)
def test_any_array(array):
    assert_same(unpack(pack({"first": 1, "array": array, "last": 2.0}))["array"], array)


def test_arrays_are_writable():
    unpack(pack({"forces": np.zeros((2, 3))}))["forces"][0, 0] = 1.0


def test_what_no_other_process_could_use_is_left_out():
    values = {"a": object(), "b": np.array([None]), "c": 1}
    assert unpack(pack(values)) == {"c": 1}


@pytest.mark.parametrize("damage", ["cut", "head", "empty", "garbage", "length"])
def test_damaged_records(damage):
    data = pack(VALUES)
    broken = {
        "cut": data[:-200],
        "head": data[:20] + b"\xff" + data[21:],
        "empty": b"",
        "garbage": b"\x05" + bytes(40),
        "length": b"\xff" * 8 + data[8:],
    }
    with pytest.raises(OutputError, match="damaged"):
        unpack_outcome(broken[damage])


# --- errors ---------------------------------------------------------------------------------------


def error_classes():
    kinds = [getattr(errors, name) for name in errors.__all__]
    return [k for k in kinds if issubclass(k, RootstockError)]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_class_of_error(kind):
    error = kind("something happened\nhere")
    error.__cause__ = RemoteTracebackError("Traceback of the worker")
    back = unpack_outcome(pack_outcome(error))
    assert type(back) is kind
    assert str(back) == str(error) and back.args == error.args
    assert vars(back) == vars(error)
    assert type(back.__cause__) is RemoteTracebackError
    assert back.__cause__.args == ("Traceback of the worker",)
    with pytest.raises(kind):
        raise back


@pytest.mark.parametrize(
    "error",
    [
        WorkerDiedError("died", -9, "the log's\nend"),
        ModelError("KeyError: 'U'", "builtins.KeyError"),
        BatchError("memory", "torch.OutOfMemoryError", out_of_memory=True),
        UnknownNameError("no model", "cgnet", ("chgnet",)),
    ],
)
def test_attributes_of_errors(error):
    back = unpack_outcome(pack_outcome(error))
    assert vars(back) == vars(error) and back.__cause__ is None


def test_other_causes_become_tracebacks():
    with pytest.raises(ModelError) as caught:
        try:
            {}["U"]
        except KeyError as error:
            raise ModelError("KeyError: 'U'") from error
    cause = unpack_outcome(pack_outcome(caught.value)).__cause__
    assert isinstance(cause, RemoteTracebackError) and "KeyError: 'U'" in str(cause)


def test_an_attribute_that_cannot_be_kept_does_not_lose_the_error():
    error = WorkerDiedError("died", -9)
    error.process = object()
    back = unpack_outcome(pack_outcome(error))
    assert type(back) is WorkerDiedError and vars(back) == {"returncode": -9, "log_tail": ""}


def test_a_class_of_a_newer_version_becomes_the_nearest_that_is_known():
    class NewerError(ModelError):
        pass

    assert type(unpack_outcome(pack_outcome(NewerError("new", "x.Y")))) is ModelError


# --- structures -----------------------------------------------------------------------------------


def test_structures_come_back_exactly():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.pbc = (True, False, True)
    atoms.set_celldisp([0.1, 0.2, 0.3])
    atoms.arrays["momenta"] = np.full((4, 3), 0.1)
    atoms.set_initial_magnetic_moments(np.arange(12.0).reshape(4, 3))
    atoms.set_array("single", np.arange(4, dtype=np.float32))
    atoms.set_array("names", np.array(["A", "BB", "C", "D"]))
    atoms.info = {"charge": 1, 5: (1.5, np.float32(2)), "kept": np.eye(2), "lost": object()}
    back = unpack_atoms(pack_atoms(atoms))
    assert type(back) is Atoms and back == atoms
    assert_same(dict(sorted(back.arrays.items())), dict(sorted(atoms.arrays.items())))
    assert_same(back.cell.array, atoms.cell.array)
    assert_same(back.get_celldisp(), atoms.get_celldisp())
    assert list(back.pbc) == [True, False, True]
    del atoms.info["lost"]
    assert_same(back.info, atoms.info)


@pytest.mark.parametrize("atoms", [Atoms(), molecule("H2O"), Atoms("H", [(np.nan, 0, 0)])])
def test_unusual_structures(atoms):
    back = unpack_atoms(pack_atoms(atoms))
    assert back.positions.tobytes() == atoms.positions.tobytes()


def test_constraints():
    class Own:
        def todict(self):
            return {"name": "Own", "kwargs": {}}

    class Silent:
        pass

    atoms = molecule("H2O")
    atoms.constraints = [
        FixAtoms([0, 2]),
        FixedPlane(1, (0, 0, 1)),
        Hookean(0, 1, 2.0, 1.5),
        Own(),
        Silent(),
    ]
    fixed, plane, spring = unpack_atoms(pack_atoms(atoms)).constraints
    assert fixed.index.tolist() == [0, 2]
    assert plane.dir.tolist() == [0, 0, 1]
    assert (spring.threshold, spring.spring) == (1.5, 2.0)


def test_packing_does_not_depend_on_the_history_of_a_structure():
    atoms = bulk("Cu", cubic=True)
    other = atoms.copy()
    other.calc = object()
    assert pack_atoms(other) == pack_atoms(atoms)
