"""Errors of models about elements that they don't know."""

from __future__ import annotations

import pytest
from ase import Atoms

from rootstock import RootstockCalculator
from rootstock.cli.result_table import compute_results
from rootstock.errors import ModelError
from tests.support.fake_builds import root_with_fake_build

FILE = """
# /// script
# dependencies = []
# [tool.rootstock]
# elements = "{elements}"
# ///
from ase.calculators.calculator import Calculator

class Refuses(Calculator):
    implemented_properties = ["energy"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        raise {error}

def setup(model, device):
    return Refuses()
"""
SALT = Atoms("KCl", [[0, 0, 0], [0, 0, 3]])


@pytest.fixture
def message(tmp_path):
    """Return the message of a model that knows `elements` and raises `error`."""

    def message_of(elements: str, error: str) -> str:
        root = root_with_fake_build(tmp_path, "m", FILE.format(elements=elements, error=error))
        with RootstockCalculator("m", root=root, device="cpu") as calc:
            with pytest.raises(ModelError) as caught:
                compute_results(SALT.copy(), calc)
        assert type(caught.value.__cause__).__name__ == "RemoteTracebackError"
        return str(caught.value)

    return message_of


def test_elements_that_the_file_does_not_state_are_named(message):
    text = message("Na Br", "RuntimeError('index 19 is out of range')")
    assert "model 'm' does not know the elements Cl, K; it knows Na, Br." in text
    assert "rootstock list" in text and "--traceback" in text


def test_the_models_own_error_is_shown_too(message):
    assert "RuntimeError: out of range" in message("Na Br", "RuntimeError('out of range')")


def test_a_key_error_that_names_an_element(message):
    text = message("", "KeyError('Cl')")
    assert "model 'm' does not know the element Cl. Choose" in text


@pytest.mark.parametrize(
    "error",
    [
        "RuntimeError('no parameters for K')",
        "KeyError('stress')",
        "KeyError('Clash')",
        "KeyError('Missing head in K')",
    ],
)
def test_other_errors_keep_the_models_own_words(message, error):
    text = message("", error)
    assert "does not know" not in text
    assert error.partition("'")[2].rstrip("')") in text
