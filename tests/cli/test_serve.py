"""rootstock serve."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from rootstock.protocol import messages as m
from tests.support.command_line import run
from tests.support.ipi_server import ManualServer, answer, hung_up, step
from tests.support.structures import copper


def start_command(root, structure, *options):
    command = [sys.executable, "-m", "rootstock", "serve", "probe-null", "--root", root]
    command += ["--structure", structure, "--device", "cpu", *options]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # background jobs of a shell ignore SIGINT, and this test suite may be one
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_the_command(probe_root, tmp_path, name, code):
    path, structure = tmp_path / "socket", tmp_path / "cu.xyz"
    atoms = copper(1)
    atoms.write(structure)
    with ManualServer(path) as server:
        process = start_command(probe_root, structure, "--socket", path, "--json", "--count", "2")
        wires = [server.accept() for _ in range(2)]
        for wire in wires:
            wire.sendall(step(atoms.positions))
            answer(wire, 4)
        lines = []
        while not lines or [c["state"] for c in lines[-1]["clients"]] != ["connected"] * 2:
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=20)
        for wire in wires:
            assert hung_up(wire)
            wire.close()
    assert process.returncode == code, errors
    assert "Traceback" not in errors


def test_the_command_ends_with_the_server(probe_root, tmp_path):
    path, structure = tmp_path / "socket", tmp_path / "cu.xyz"
    atoms = copper(1)
    atoms.write(structure)
    with ManualServer(path) as server:
        process = start_command(probe_root, structure, "--socket", path)
        with server.accept() as wire:
            wire.sendall(step(atoms.positions))
            answer(wire, 4)
            wire.sendall(m.EXIT)
            output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert output.splitlines()[-1] == "worker 1: ended, 1 steps"


@pytest.mark.parametrize("words", [[], ["probe-null", "--committee", "probe-null,probe-world"]])
def test_one_model_or_one_committee(words, tmp_path):
    copper(1).write(tmp_path / "cu.xyz")
    result = run("serve", *words, "--structure", tmp_path / "cu.xyz")
    assert result.exit_code == 2
    assert "give a model or --committee" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "give one of socket"),
        (["--unix", "a", "--port", "1"], 2, "give one of socket"),
        (["--unix", "rootstock-none", "--wait", "0.2"], 7, "no server came up"),
    ],
)
def test_errors_of_the_command(probe_root, tmp_path, options, code, message):
    structure = tmp_path / "cu.xyz"
    copper(1).write(structure)
    process = start_command(probe_root, structure, *options)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert message in errors and "Traceback" not in errors
