"""The options of the commands that load a model."""

from __future__ import annotations

import json
import signal

import pytest

from rootstock.testing import fake_environment
from tests.support.command_line import run


@pytest.fixture(params=["run", "demo", "serve", "fetch", "verify"])
def command(request, structure):
    """A function that returns the arguments of each command for a model."""

    def arguments(model: str) -> list:
        return {
            "run": ["run", model, structure],
            "demo": ["demo", "--model", model],
            "serve": ["serve", model, "--structure", structure, "--unix", "none", "--wait", 0.1],
            "fetch": ["fetch", model],
            "verify": ["verify", model],
        }[request.param]

    return arguments


@pytest.fixture
def _same_signals():
    """serve handles SIGTERM, and here it runs in this process."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("_same_signals")
def test_setup_and_traceback(probe_root, command):
    options = ["--setup", "when=setup", "--setup", "failure=raise", "--traceback"]
    result = run(*command("probe-crash"), "--root", probe_root, *options)
    assert result.exit_code == 6, result.output
    traceback, error, message = result.stderr.partition("error: ")
    assert error
    assert "Traceback (most recent call last)" in traceback and "probe_env.py" in traceback
    assert "the model's own words" in message


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--environment", "/no/such_env.py"], 3, "there is no environment file /no/such_env.py"),
        (["--threads", 0], 2, "threads=0 must be a positive integer"),
        (["--device", "gpu"], 2, "invalid device 'gpu'"),
        (["--cluster", "dela"], 2, "did you mean 'della'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_other_options(command, options, code, message):
    result = run(*command("emt"), *options)
    assert result.exit_code == code, result.output
    assert message in result.stderr


def test_values_of_setup_are_json_or_else_text(probe_root, structure):
    pairs = ["head=omat", "n=3", "flag=true", "text=a=b", "empty="]
    options = [part for pair in pairs for part in ("--setup", pair)]
    result = run("run", "probe-options", structure, "--root", probe_root, "--json", *options)
    assert result.exit_code == 0, result.output
    settings = json.loads(result.stdout)["provenance"]["settings"]
    assert settings == {"head": "omat", "n": 3, "flag": True, "text": "a=b", "empty": ""}


@pytest.mark.parametrize("value", ["True", "False", "None"])
def test_pythons_spellings_are_refused(probe_root, structure, value):
    pair = f"flag={value}"
    result = run("run", "probe-null", structure, "--root", probe_root, "--setup", pair)
    assert result.exit_code == 2
    assert (
        f"--setup {pair}: values are JSON, write flag={value.lower()[:4]}"
        in result.stderr.replace("flag=null", "flag=none")
    )


@pytest.mark.parametrize("pair", ["head", "=omat", "a b=1", "1a=2"])
def test_invalid_values_of_setup(probe_root, structure, pair):
    result = run("run", "probe-null", structure, "--root", probe_root, "--setup", pair)
    assert result.exit_code == 2
    assert f"--setup {pair!r} must be key=value" in result.stderr


@pytest.mark.model
def test_an_environment_file(structure):
    path = fake_environment()
    result = run("run", "reference", structure, "--environment", path, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["provenance"]["environment"] == "fake"
    assert shown["results"]["energy"] > 0
