"""Environment files are read without being run, or refused with their path and the reason."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from rootstock import RootstockCalculator, available, find_root
from rootstock.environments.environment_file import read_environment_file
from rootstock.environments.lockfile import write_project
from rootstock.environments.model_strings import resolve
from rootstock.errors import EnvironmentFileError
from tests.support.environment_files import write_environment_file
from tests.support.users import as_nobody, needs_root


def test_an_environment_file_is_read_without_being_run(tmp_path):
    body = "MODELS = {'a': 'first', 'b': 'second'}\nraise SystemExit('was run')\n"
    path = write_environment_file(
        tmp_path, dependencies='"six"', extra='[tool.rootstock.variables]\nA = "1"', body=body
    )
    file = read_environment_file(path, "my", "file")
    assert file.models == {"a": "first", "b": "second"}
    assert file.metadata["dependencies"] == ["six"]
    assert file.settings["variables"] == {"A": "1"}
    assert file.requires_python == ">=3.9"


def test_windows_line_ends_and_a_conditional_setup_are_fine(tmp_path):
    path = tmp_path / "x_env.py"
    path.write_bytes(
        b"# /// script\r\n# dependencies = []\r\n# ///\r\ntry:\r\n  from a import setup\r\nexcept ImportError:\r\n  setup = None\r\n"
    )
    assert read_environment_file(path, "x", "file").metadata == {"dependencies": []}


BROKEN = {
    "missing": (None, "there is no environment file"),
    "syntax": (
        "# /// script\n# dependencies = []\n# ///\ndef setup(:\n",
        "not valid Python in line 4",
    ),
    "no metadata": ("def setup(model, device): ...\n", "has no '# /// script' block"),
    "two blocks": ("# /// script\n# ///\n\n# /// script\n# ///\ndef setup(m, d): ...\n", "block"),
    "no setup": (
        "# /// script\n# dependencies = []\n# ///\ndef other(): \n  def setup(): ...\n",
        "defines no setup",
    ),
    "toml": ("# /// script\n# dependencies = [\n# ///\ndef setup(m, d): ...\n", "not valid TOML"),
    "dependencies": (
        "# /// script\n# dependencies = 'six'\n# ///\ndef setup(m, d): ...\n",
        "list of strings",
    ),
    "python": (
        "# /// script\n# requires-python = 'three'\n# ///\ndef setup(m, d): ...\n",
        "requires-python",
    ),
    "python type": (
        "# /// script\n# requires-python = 3\n# ///\ndef setup(m, d): ...\n",
        "requires-python",
    ),
    "tool": ("# /// script\n# tool = {uv = 1}\n# ///\ndef setup(m, d): ...\n", "must be a table"),
    "settings": (
        "# /// script\n# tool.rootstock.licences = 5\n# ///\ndef setup(m, d): ...\n",
        "licences in .tool.rootstock. must be a table of strings, not 5",
    ),
    "deep toml": (
        f"# /// script\n# a = {'[' * 9999}\n# ///\ndef setup(m, d): ...\n",
        "not valid TOML",
    ),
    "deep": (f"# /// script\n# a = 1\n# ///\nx = {'-' * 99999}1\n", "not valid Python"),
    "models": (
        "# /// script\n# dependencies = []\n# ///\nMODELS = {k: '' for k in 'ab'}\ndef setup(m, d): ...\n",
        "literal dict",
    ),
    "models type": (
        "# /// script\n# dependencies = []\n# ///\nMODELS = ['a']\ndef setup(m, d): ...\n",
        "literal dict",
    ),
    "encoding": (b"# /// script\n# ///\n\xff\n", "can't be read"),
    "nul": ("# /// script\n# dependencies = []\n# ///\n\0\n", "not valid Python"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_name_the_problem_and_affect_no_other_file(tmp_path, case):
    content, message = BROKEN[case]
    folder = tmp_path / "environments"
    write_environment_file(folder, "good")
    path = folder / "bad_env.py"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(EnvironmentFileError, match=message) as caught:
        read_environment_file(path, "bad", "root")
    assert str(path) in str(caught.value)
    root = find_root(tmp_path)
    assert resolve("good-x", root)[1] == "x"
    if content is not None:
        with pytest.raises(EnvironmentFileError):
            RootstockCalculator("bad", root=tmp_path)
        entries = {a.name: a for a in available(root)}
        assert entries["bad"].problem
        assert not entries["good"].problem
    assert not (tmp_path / "envs").exists()


@needs_root
def test_an_unreadable_file_is_an_error(tmp_path):
    path = write_environment_file(tmp_path)
    path.chmod(0)
    as_nobody(
        f"""
from rootstock import RootstockCalculator
from rootstock.errors import EnvironmentFileError
try: RootstockCalculator(environment={str(path)!r})
except EnvironmentFileError as error: assert "can't be read" in str(error)
else: raise SystemExit("no error")
""",
        tmp_path,
    )


ANYTHING = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4) | st.just(">=3.9"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def table(**known):
    """Return a strategy for tables with known keys, each of the known kind or of any other."""
    optional = {name.replace("_", "-"): value | ANYTHING for name, value in known.items()}
    return st.fixed_dictionaries({}, optional=optional)


METADATA = table(
    dependencies=st.lists(st.sampled_from(["six", "ase>=3", "%"])),
    requires_python=st.sampled_from([">=3.9", "<3", ">"]),
    tool=table(
        uv=table(
            sources=st.dictionaries(st.text(max_size=3), table(path=st.text()), max_size=2),
            index=st.lists(table(url=st.text()), max_size=2),
            find_links=st.lists(st.text(), max_size=2),
        ),
        rootstock=table(
            licence=st.text(),
            licences=ANYTHING,
            elements=st.text(),
            variables=ANYTHING,
            python=st.text(),
            site_packages=st.lists(st.text(), max_size=2),
        ),
    ),
)


def in_a_file(metadata) -> bytes:
    block = "".join(f"# {line}\n" for line in tomli_w.dumps(metadata).splitlines())
    return f"# /// script\n{block}# ///\ndef setup(model, device): ...\n".encode()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | METADATA.map(in_a_file))
def test_any_environment_file_is_read_or_refused(raw):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x_env.py")
        path.write_bytes(raw)
        try:
            file = read_environment_file(path, "x", "file")
            write_project(file, Path(folder))
        except EnvironmentFileError as error:
            assert str(path) in str(error)
            return
    assert isinstance(file.licence("a"), str)
    assert all(isinstance(element, str) for element in file.elements("a"))
    assert isinstance(file.requirements_digest, str)
