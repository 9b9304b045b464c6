"""Unknown keys in ``[tool.rootstock]``: an error where a root is written, a warning elsewhere."""

from __future__ import annotations

import copy
import warnings

import pytest

import rootstock
from rootstock import RootstockCalculator, prepare
from rootstock.cli import new as new_module
from rootstock.environments.environment_file import check_settings, read_environment_file
from rootstock.environments.uv import Uv
from rootstock.errors import BuildError, EnvironmentFileError
from rootstock.maintenance.add_files import add_files
from rootstock.runtime.arguments import make_spec
from tests.support.command_line import as_json, run
from tests.support.environment_files import add_to_root, write_environment_file

MISSPELT = '[tool.rootstock]\nelement = "Cu"'
MESSAGE = r"my_env\.py: unknown key 'element' in \[tool\.rootstock\]; did you mean 'elements'\?"


@pytest.fixture
def no_uv(monkeypatch):
    """Let every call of uv fail."""

    def refuse(*arguments, **options):
        raise BuildError("uv was called")

    monkeypatch.setattr(Uv, "run", refuse)


def file_with(folder, table: str):
    path = write_environment_file(folder, extra=f"[tool.rootstock]\n{table}")
    return read_environment_file(path, "my", "file")


@pytest.fixture
def misspelt(root):
    """An environment of a root, one of whose settings is misspelt."""
    return add_to_root(root, extra=MISSPELT)


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key", "suggestion"),
    [
        ('element = "Cu"', "element", "elements"),
        ('Licence = "MIT"', "Licence", "licence"),
        ("system_site_packages = true", "system_site_packages", "system-site-packages"),
        ('pyhton = "3.12"', "pyhton", "python"),
        ('[tool.rootstock.variable]\nA = "1"', "variable", "variables"),
    ],
)
def test_a_misspelt_key_has_a_suggestion(tmp_path, table, key, suggestion):
    file = file_with(tmp_path, table)
    with pytest.raises(EnvironmentFileError, match=f"unknown key '{key}'.*'{suggestion}'"):
        check_settings(file, strict=True)
    with pytest.warns(UserWarning, match=f"unknown key '{key}'.*'{suggestion}'"):
        check_settings(file, strict=False)


def test_a_key_like_no_other_lists_the_known_ones(tmp_path):
    file = file_with(tmp_path, "zzzzzz = 1")
    with pytest.raises(EnvironmentFileError, match=r"'zzzzzz' .*\. Known keys: python, licence,"):
        check_settings(file, strict=True)


def test_every_known_key_is_accepted(tmp_path):
    table = (
        'python = "3.12"\nlicence = "a"\nlicense = "a"\npaper = "p"\ncache = "c"\n'
        'elements = "H"\nsystem-site-packages = true\nsite-packages = ["torch"]\n'
        '[tool.rootstock.variables]\nA = "1"\n[tool.rootstock.licences]\nx = "b"\n'
        '[tool.rootstock.licenses]\ny = "c"'
    )
    file = file_with(tmp_path, table)
    assert len(file.settings) == 11
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_settings(file, strict=True)
        check_settings(file, strict=False)


@pytest.mark.parametrize(
    "table",
    [
        'licence = "MIT"\n[tool.rootstock.licences]\nlarge = "ASL"',
        'license = "MIT"\n[tool.rootstock.licenses]\nlarge = "ASL"',
        'license = "MIT"\n[tool.rootstock.licences]\nlarge = "ASL"',
    ],
    ids=["British", "American", "both"],
)
def test_license_beside_licence(tmp_path, table):
    file = file_with(tmp_path, table)
    check_settings(file, strict=True)
    assert file.licence() == file.licence("small") == "MIT"
    assert file.licence("large") == "ASL"


def test_show_prints_a_license(root):
    add_to_root(root, extra='[tool.rootstock]\nlicense = "Apache-2.0"')
    assert as_json("show", "my", "--root", root.path)["licence"] == "Apache-2.0"


# --- where it is an error -------------------------------------------------------------------------


def test_install_of_a_name(root, misspelt):
    with pytest.raises(EnvironmentFileError, match=MESSAGE):
        rootstock.install("my", root=root)
    assert not root.writable.builds.exists()


def test_install_of_a_file_copies_nothing(root, tmp_path):
    path = write_environment_file(tmp_path / "mine", extra=MISSPELT)
    write_environment_file(tmp_path / "mine", name="good")
    for named in (path, path.parent, str(path)):
        with pytest.raises(EnvironmentFileError, match=MESSAGE):
            rootstock.install(named, root=root)
    with pytest.raises(EnvironmentFileError, match=MESSAGE):
        add_files(root, [path.parent])
    assert not list(root.path.rglob("*_env.py"))


def test_the_command_install(root, misspelt):
    done = run("install", "my", "--root", root.path)
    assert done.exit_code == 3
    assert "error: " in done.stderr and "did you mean 'elements'" in done.stderr


def test_verify(root, misspelt):
    with pytest.warns(UserWarning, match=MESSAGE):
        with pytest.raises(EnvironmentFileError, match=MESSAGE):
            rootstock.verify("my", root=root)
    assert not root.writable.builds.exists()


@pytest.mark.filterwarnings("default::UserWarning")
def test_the_command_verify(root, misspelt):
    done = run("verify", "my", "--root", root.path)
    assert done.exit_code == 3
    assert "error: " in done.stderr and "did you mean 'elements'" in done.stderr


def test_what_new_writes_is_checked(tmp_path, monkeypatch):
    assert run("new", "mine", "--folder", tmp_path).exit_code == 0
    template = new_module._TEMPLATE.replace('# licence = ""', '# licens = ""')
    monkeypatch.setattr(new_module, "_TEMPLATE", template)
    done = run("new", "other", "--folder", tmp_path)
    assert done.exit_code == 3
    assert "unknown key 'licens'" in done.stderr


# --- where it is a warning ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda root: RootstockCalculator("my", root=root),
        lambda root: make_spec("my", root=root),
    ],
    ids=["calculator", "spec"],
)
def test_using_a_model(root, misspelt, use):
    with pytest.warns(UserWarning, match=MESSAGE):
        use(root)


def test_the_warning_points_at_the_callers_line(root, misspelt, no_uv):
    """Python shows that line, and shows the warning once for it."""
    with pytest.warns(UserWarning, match=MESSAGE) as caught:
        RootstockCalculator("my", root=root)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match=MESSAGE) as caught:
        with pytest.raises(BuildError):
            prepare("my", root=root)
    assert [warning.filename for warning in caught] == [__file__]


def test_one_warning_for_one_calculator(root, misspelt):
    with pytest.warns(UserWarning, match=MESSAGE) as caught:
        copy.deepcopy(RootstockCalculator("my", root=root))
    assert len(caught) == 1


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize(("command", "exit_code"), [("show", 0), ("lock", 4)])
def test_commands_that_only_read_the_file(root, misspelt, no_uv, command, exit_code):
    done = run(command, "my", "--root", root.path, "--json")
    assert done.exit_code == exit_code, done.stderr
    assert "warning: " in done.stderr and "did you mean 'elements'" in done.stderr
