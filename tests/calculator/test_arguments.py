"""The arguments of RootstockCalculator."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rootstock import ConfigurationError, RootstockCalculator
from rootstock.errors import UnknownNameError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modle": "x"}, "did you mean 'model'"),
        ({"root": "/a", "cluster": "della"}, "both given"),
        ({"cluster": "dela"}, "did you mean 'della'"),
        ({"model": None}, "give a model"),
        ({"model": ""}, "must be a string"),
        ({"model": "prob-null"}, "did you mean 'probe'"),
        ({"device": "gpu"}, "invalid device"),
        ({"device": 1}, "invalid device"),
        ({"threads": 0}, "threads"),
        ({"threads": 1.5}, "threads"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"startup_timeout": float("nan")}, "startup_timeout"),
        ({"setup_kwargs": {"f": print}}, "can't be sent"),
        ({"setup_kwargs": {1: 2}}, "names as keys"),
    ],
)
def test_bad_arguments_are_refused_at_once(probe_root, arguments, message):
    arguments = {"model": "probe-null", "root": probe_root, **arguments}
    if arguments.get("cluster") == "dela":
        del arguments["root"]
    with pytest.raises(ConfigurationError, match=message):
        RootstockCalculator(**arguments)


def test_an_unknown_model_lists_the_available_ones(probe_root):
    with pytest.raises(UnknownNameError, match=r"chgnet, deepmd, .*mace, .*probe") as caught:
        RootstockCalculator("zzz", root=probe_root)
    assert caught.value.name == "zzz"


def test_a_cuda_index_that_is_not_visible_is_refused(make, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    calc = RootstockCalculator(**{**make().parameters, "device": "cuda:1"})
    with pytest.raises(ConfigurationError, match="CUDA_VISIBLE_DEVICES=3"):
        calc.report


def test_setup_kwargs_arrive(make):
    options = {"a": 1.5, "b": [1, {"c": None}], "array": np.arange(2)}
    names = make("probe-options", setup_kwargs=options).implemented_properties
    assert names == ["energy", *map(repr, sorted(options.items()))]


def test_device_is_decided_in_the_worker(make):
    calc = RootstockCalculator(model="probe-null", root=make().parameters["root"])
    assert calc.device == "auto"
    calc.report
    assert calc.device == "cpu"
    calc.close()


def test_parameters_are_json_and_make_an_equal_calculator(make):
    calc = make(setup_kwargs={"a": [1, 2]})
    assert (
        RootstockCalculator(**json.loads(json.dumps(calc.todict()))).parameters == calc.parameters
    )
    assert repr(calc).startswith("RootstockCalculator(model='probe-null'")
    assert calc.name == "rootstock"
    with pytest.raises(ConfigurationError, match="make a new"):
        calc.set(model="other")
