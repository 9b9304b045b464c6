"""The docs hold: code compiles, scripts run, links lead somewhere, figures are the measured ones."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rootstock
from rootstock.environments.environment_file import read_environment_file
from tests.support.paths import REPO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
README = PAGES[0].read_text()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_compiles_and_environment_files_are_good(page, tmp_path):
    for number, block in enumerate(blocks(page, "python")):
        compile(block, f"{page.name}, block {number}", "exec")
        if block.startswith("# /// script"):
            path = tmp_path / f"block{number}_env.py"
            path.write_text(block)
            assert read_environment_file(path, "block", "file").metadata["dependencies"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_ci_runs_the_readmes_test_command():
    (command,) = [block for block in blocks(PAGES[0], "sh") if "pytest" in block]
    assert command in (REPO / ".ci" / "run").read_text()


def test_the_commands_of_the_readme_exist():
    from rootstock.cli import app

    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    assert set(re.findall(r"^\| `rootstock (\w+)", README, re.MULTILINE)) == commands


def test_every_error_is_in_the_table():
    page = (REPO / "docs" / "calculator.md").read_text()
    hidden = {
        "RootstockError",
        "StartupError",
        "CalculationError",
        "ProtocolError",
        "PeerClosedError",
    }
    for name in rootstock.__all__:
        if name.endswith("Error") and name not in hidden:
            assert f"`{name}`" in page


def test_one_version():
    version = rootstock.__version__
    assert f"## {version}" in (REPO / "CHANGELOG.md").read_text()
    assert f"version: {version}" in (REPO / "CITATION.cff").read_text()


def test_nothing_generated_and_no_machine_in_the_repository():
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert settings["project"]["license"] == "MIT"
    names = [p.name for p in REPO.glob("src/**/*")] + [p.name for p in REPO.glob("*")]
    assert not [n for n in names if n.startswith("pylock") or n in ("uv.lock", "poetry.lock")]


def test_the_readmes_figures_are_those_that_were_measured():
    from benchmarks.report import markdown

    measured = json.loads((REPO / "benchmarks" / "results" / "benchmark.json").read_text())
    assert markdown(measured) in README


def scripts():
    """Return every script that a page of the docs says can be run as it stands."""
    marked = re.compile(r"<!-- script(?: in (\S+))? -->\n```python\n(.*?)```", re.DOTALL)
    for page in sorted((REPO / "docs").glob("*.md")):
        for number, (folder, code) in enumerate(marked.findall(page.read_text())):
            yield pytest.param(folder, code, id=f"{page.stem}-{number}")


@pytest.mark.model
@pytest.mark.parametrize(("folder", "code"), list(scripts()))
def test_the_scripts_of_the_docs(folder, code, tmp_path, user_variables):
    here = tmp_path / "here"
    if folder:
        shutil.copytree(REPO / folder, here)
    else:
        here.mkdir()
    (here / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=here,
        env=user_variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout
