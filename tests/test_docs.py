"""The docs: code compiles, scripts run, links exist, figures are the measured ones."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

import rootstock
from rootstock import errors
from rootstock.environments.environment_file import read_environment_file
from tests.support.paths import REPO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = REPO / "docs"
PAGES = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
README = PAGES[0].read_text()

#: Private terms and idioms that the pages avoid.
UNWANTED = (
    r"topolog(y|ies)|recipes?|leases?|guests?|lifelines?|workshop|overlays?|generations?",
    r"cellar|house|rooms?|the door|the floor|foreign(er)?|forsak\w*|disown\w*|mend(s|ed|ing)?",
    r"near miss(es)?|(lay|lays|laid) over|adopt(s|ed)?|in step|null model|affair|such (an?|things?)",
    r"nobody|everybody|somebody|anybody|what it is|is no(?! longer\b)|life and death|anew",
    r"hosts? and (guests?|workers?)|(the|a) host('s)?(?! name)|stations?|the far side",
)


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def prose(page):
    """Return a page without its code: names on disk and options may be any word."""
    without_blocks = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", without_blocks)


def links(page):
    """Return path and anchor of each link into this repository."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors(page):
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def page_id(page):
    return str(page.relative_to(REPO))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_compiles_and_environment_files_are_valid(page, tmp_path):
    for number, block in enumerate(blocks(page, "python")):
        compile(block, f"{page.name}, block {number}", "exec")
        if block.startswith("# /// script"):
            path = tmp_path / f"block{number}_env.py"
            path.write_text(block)
            assert read_environment_file(path, "block", "file").metadata["dependencies"]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_exist(page):
    for path, anchor in links(page):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_pages_use_plain_words(page):
    for pattern in UNWANTED:
        match = re.search(rf"\b({pattern})\b", prose(page), re.IGNORECASE)
        assert match is None, match


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        pages = {path for path, _ in links(page) if path.suffix == ".md" and DOCS in path.parents}
        waiting += pages - reached
    assert reached >= set(DOCS.rglob("*.md"))


def test_ci_runs_the_readmes_test_command():
    (command,) = [block for block in blocks(PAGES[0], "sh") if "pytest" in block]
    assert command in (REPO / ".ci" / "run").read_text()


def commands():
    """Return the options of each command by its name."""
    import typer.main

    from rootstock.cli import app

    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in group.commands.items()
    }


def test_the_commands_of_the_readme_exist():
    assert set(re.findall(r"^\| `rootstock (\w+)", README, re.MULTILINE)) == set(commands())


def test_the_commands_page_has_every_command_and_option():
    page = (DOCS / "reference" / "commands.md").read_text()
    code = " ".join(re.findall(r"`([^`\n]+)`", page))
    for name, options in commands().items():
        assert re.search(rf"\*\*`rootstock {name}\b", page), name
        for option in options - {"--help"}:
            if option.startswith("--"):
                named = {option, option.replace("--", "--no-", 1)}
                named |= options & {"-o"} if option == "--output" else set()
                assert any(re.search(rf"{text}\b", code) for text in named), f"{name} {option}"


def test_the_exit_codes_are_those_of_the_command_line():
    from rootstock.cli.output import _EXIT_CODES

    page = (DOCS / "reference" / "commands.md").read_text()
    for error, code in _EXIT_CODES:
        (row,) = re.findall(rf"^\| {code} \|.*$", page, re.MULTILINE)
        assert f"`{error.__name__}`" in row


def test_every_error_is_in_the_table():
    page = (DOCS / "reference" / "errors.md").read_text()
    for name in errors.__all__:
        assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), name


def test_the_version_is_the_same_everywhere():
    version = rootstock.__version__
    assert f"## {version}" in (REPO / "CHANGELOG.md").read_text()
    assert f"version: {version}" in (REPO / "CITATION.cff").read_text()


def test_the_licence_and_no_generated_lock_files():
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert settings["project"]["license"] == "MIT"
    names = [p.name for p in REPO.glob("src/**/*")] + [p.name for p in REPO.glob("*")]
    assert not [n for n in names if n.startswith("pylock") or n in ("uv.lock", "poetry.lock")]


def measured(name="benchmark"):
    return json.loads((REPO / "benchmarks" / "results" / f"{name}.json").read_text())


def test_the_figures_of_the_benchmarks_page_are_those_that_were_measured():
    from benchmarks.report import blocks, markdown

    shown = blocks((DOCS / "benchmarks.md").read_text())
    assert {"benchmark", "many"} <= set(shown)
    for name, text in shown.items():
        assert text == markdown(measured(name))


def overhead(row):
    """Return a cell of the README's table, which shows no negative times."""
    if row["median"] > 0:
        return f"{row['median']:.3f} ± {row['spread']:.3f}"
    return "less than the direct call" if -row["median"] > row["spread"] else "within the noise"


def test_the_figures_of_the_readme_are_those_that_were_measured():
    section = README.partition("## Overhead")[2].partition("\n## ")[0]
    titles = {
        "rootstock": "Rootstock",
        "ase": "ASE socket",
        "peer": "rootstock 1.6.4 (PyPI)",
        "floor": "bare socket, same bytes",
    }
    for kind, title in titles.items():
        cells = [overhead(row) for row in measured()["way"] if row["kind"] == kind]
        assert f"| {title} | {' | '.join(cells)} |" in section
    assert len(re.findall(r"^\|", section, re.MULTILINE)) <= 2 + 6
    models = measured()["models"]
    added = [row["added"] for row in models]
    assert f"{min(added):.2f} to {max(added):.2f} ms" in section
    assert f"{max(row['percent'] for row in models):.1f} %" in section
    sizes = [row["natoms"] for row in models]
    assert f"{min(sizes):,} to {max(sizes):,} atoms" in section


def scripts():
    """Return every script that a page of the docs marks as runnable."""
    marked = re.compile(r"<!-- script(?: in (\S+))? -->\n```python\n(.*?)```", re.DOTALL)
    for page in sorted(DOCS.rglob("*.md")):
        for number, (folder, code) in enumerate(marked.findall(page.read_text())):
            yield pytest.param(folder, code, id=f"{page.stem}-{number}")


def test_the_docs_have_scripts():
    assert {param.id.rpartition("-")[0] for param in scripts()} == {"ase-sockets", "ipi", "lammps"}


@pytest.mark.model
@pytest.mark.parametrize(("folder", "code"), list(scripts()))
def test_the_scripts_of_the_docs(folder, code, tmp_path, user_variables):
    workdir = tmp_path / "work"
    if folder:
        shutil.copytree(REPO / folder, workdir)
    else:
        workdir.mkdir()
    (workdir / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=workdir,
        env=user_variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout
