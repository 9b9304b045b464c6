"""What a worker reports about its model and PyTorch. PyTorch is a fake here."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from rootstock.protocol.values import encode
from rootstock.worker import model


class FakeTorch:
    """The settings of PyTorch that a worker reads and sets."""

    def __init__(self, *, gpu: bool = False) -> None:
        self.cuda = SimpleNamespace(
            is_available=lambda: gpu, get_device_name=lambda device: f"GPU of {device}"
        )
        self.backends = SimpleNamespace(
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True, fp32_precision="tf32")),
            cudnn=SimpleNamespace(allow_tf32=False),
        )
        self.threads = 0

    def get_default_dtype(self):
        return "torch.float64"

    def get_float32_matmul_precision(self):
        return "high"

    def set_num_threads(self, number):
        self.threads = number


@pytest.fixture
def torch(monkeypatch):
    fake = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    return fake


@pytest.fixture
def _no_torch(monkeypatch):
    for name in ("torch", "jax"):
        monkeypatch.delitem(sys.modules, name, raising=False)


PRECISION = {
    "default_dtype": "float64",
    "float32_matmul_precision": "high",
    "cuda.matmul.allow_tf32": "True",
    "cuda.matmul.fp32_precision": "tf32",
    "cudnn.allow_tf32": "False",
}


def test_the_precision_of_pytorch(torch):
    assert model._precision() == PRECISION


def test_settings_that_an_older_pytorch_lacks_are_left_out(torch):
    del torch.backends.cuda.matmul.fp32_precision
    expected = {k: v for k, v in PRECISION.items() if k != "cuda.matmul.fp32_precision"}
    assert model._precision() == expected


def test_settings_that_can_not_be_read_are_left_out(torch):
    """As PyTorch does once a model has used its newer interface to these settings."""

    class Mixed:
        fp32_precision = "ieee"

        @property
        def allow_tf32(self):
            raise RuntimeError("a mix of the legacy and the new APIs")

    torch.backends.cuda.matmul = Mixed()
    expected = {k: v for k, v in PRECISION.items() if k != "cuda.matmul.allow_tf32"}
    assert model._precision() == {**expected, "cuda.matmul.fp32_precision": "ieee"}


@pytest.mark.usefixtures("_no_torch")
def test_without_pytorch_there_is_nothing_to_report():
    assert model._precision() == {}
    assert model._gpu_name("cuda") == ""
    model._limit_threads(2)  # nothing to set


def test_the_name_of_the_gpu(torch):
    assert model._gpu_name("cuda:1") == ""  # PyTorch sees none
    torch.cuda.is_available = lambda: True
    assert model._gpu_name("cuda:1") == "GPU of cuda:1"
    assert model._gpu_name("cpu") == ""


def test_threads_are_set_where_they_are_asked_for(torch):
    model._limit_threads(None)
    assert torch.threads == 0
    model._limit_threads(3)
    assert torch.threads == 3


def test_settings_are_the_options_and_the_defaults_of_setup():
    def setup(model, device, head="omat", numbers=(1, 2), function=print, required=None):
        """Take options that are JSON data, and one that is not."""

    assert model._settings(setup, {"head": "spice", "extra": True}) == {
        "head": "spice",
        "numbers": encode((1, 2)),
        "required": None,
        "extra": True,
    }
    assert model._settings(lambda model, device, **options: None, {}) == {}
