"""Lock files: the inputs they depend on, and which Python and PyTorch are chosen."""

from __future__ import annotations

import pytest

from rootstock import BuildError
from rootstock.environments import lockfile as lock_module
from rootstock.environments.environment import Environment
from rootstock.environments.environment_file import read_environment_file
from rootstock.environments.lockfile import read_lock, write_project
from rootstock.settings.root import Root
from tests.support.environment_files import write_environment_file


def test_metadata_decides_the_digest_and_setup_does_not(tmp_path):
    def digest(**parts) -> str:
        path = write_environment_file(tmp_path, **parts)
        return read_environment_file(path, "my", "file").requirements_digest

    same = digest(dependencies='"six"')
    assert digest(dependencies='"six"', body="X = 1") == same
    assert digest(dependencies='"six"', extra='[tool.rootstock.variables]\nA = "1"') == same
    assert digest(dependencies='"six", "numpy"') != same
    assert digest(dependencies='"six"', extra='[tool.rootstock]\npython = "3.12"') != same
    assert digest(dependencies='"six"', extra="[tool.uv]\nno-binary-package = ['six']") != same


def test_relative_paths_mean_the_environment_files_folder(tmp_path):
    extra = '[tool.uv]\nfind-links = ["wheels", "https://x.invalid/w"]\n[tool.uv.sources]\nlocal = { path = "../local" }\n[[tool.uv.index]]\nurl = "simple"'
    file = read_environment_file(write_environment_file(tmp_path / "e", extra=extra), "my", "file")
    write_project(file, tmp_path)
    text = (tmp_path / "pyproject.toml").read_text()
    for expected in (
        f"{tmp_path}/e/wheels",
        "https://x.invalid/w",
        f"{tmp_path}/e/../local",
        f"{tmp_path}/e/simple",
    ):
        assert expected in text


class FakeUv:
    """Replaces the process of uv; writes a lock file or fails."""

    def __init__(self, fail) -> None:
        self.commands: list[list[str]] = []
        self._fail = fail

    def run(self, arguments, purpose, *, directory, **_):
        command = [str(a) for a in arguments]
        self.commands.append(command)
        message = self._fail(command)
        if message:
            raise BuildError(message, message)
        (directory / command[command.index("-o") + 1]).write_text("lock-version = '1.0'\n")
        return ""

    def interpreters(self):
        from packaging.version import Version

        from rootstock.environments.uv import Interpreter

        return [
            Interpreter(Version(v), f"/usr/bin/python{v}") for v in ("3.13.0", "3.12.1", "3.8.1")
        ]


def compiled(tmp_path, fail, monkeypatch, **parts):
    monkeypatch.delenv("UV_PYTHON", raising=False)
    file = read_environment_file(write_environment_file(tmp_path / "e", **parts), "my", "file")
    (tmp_path / "work").mkdir()
    uv = FakeUv(fail)
    environment = Environment.of(file, Root(tmp_path / "root"))
    lock = lock_module.make_lock(environment, tmp_path / "work", uv)
    assert lock == read_lock(environment.writable.lock)
    return lock, uv.commands


def test_the_newest_python_with_wheels_is_chosen(tmp_path, monkeypatch):
    fail = lambda c: "no wheel" if "3.13.0" in str(c) and "--only-binary" in c else ""  # noqa: E731
    assert compiled(tmp_path, fail, monkeypatch)[0].python == "3.12"


def test_without_wheels_the_newest_python_is_chosen(tmp_path, monkeypatch):
    fail = lambda c: "no wheel" if "--only-binary" in c else ""  # noqa: E731
    assert compiled(tmp_path, fail, monkeypatch)[0].python == "3.13"


def test_a_maintainer_can_choose_the_python(tmp_path, monkeypatch):
    lock, commands = compiled(
        tmp_path, lambda c: "", monkeypatch, extra='[tool.rootstock]\npython = "3.10"'
    )
    assert lock.python == "3.10"
    assert len(commands) == 1


@pytest.mark.parametrize(("variable", "expected"), [(None, "auto"), ("cu128", "cu128"), ("", None)])
def test_the_torch_backend_can_be_overridden(tmp_path, monkeypatch, variable, expected):
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    if variable is not None:
        monkeypatch.setenv("UV_TORCH_BACKEND", variable)
    _, commands = compiled(
        tmp_path, lambda c: "", monkeypatch, extra='[tool.rootstock]\npython = "3.11"'
    )
    backend = (
        commands[0][commands[0].index("--torch-backend") + 1]
        if "--torch-backend" in commands[0]
        else None
    )
    assert backend == expected


def test_a_files_own_source_of_torch_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    extra = "[tool.uv.sources]\ntorch = { index = 'site' }"
    assert not [
        c
        for c in compiled(tmp_path, lambda c: "", monkeypatch, extra=extra)[1]
        if "--torch-backend" in c
    ]


def test_an_unreachable_pytorch_index_falls_back_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    message = "Failed to fetch: https://download.pytorch.org/whl/cpu/torch/"
    fail = lambda c: message if "--torch-backend" in c else ""  # noqa: E731
    with pytest.warns(UserWarning, match="several GB"):
        _, commands = compiled(tmp_path, fail, monkeypatch)
    assert sum("--torch-backend" in c for c in commands) == 1
