"""Environment files, model strings, roots, clusters, locks, builds. Real uv, small packages."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from rootstock import (
    BuildError,
    ConfigurationError,
    EnvironmentFileError,
    RootstockCalculator,
    UnknownNameError,
    available,
    find_root,
)
from rootstock.config import read_config
from rootstock.environments import lock as lock_module
from rootstock.environments import read_environment_file, resolve
from rootstock.environments.lock import metadata_digest, read_lock, write_project
from rootstock.progress import LineProgress, LiveProgress, Progress, default_progress

GOOD = """\
# /// script
# requires-python = ">=3.9"
# dependencies = [{dependencies}]
# {extra}
# ///
{body}
def setup(model, device): return None
"""


def environment(
    folder: Path, name: str = "my", dependencies: str = "", extra: str = "", body: str = ""
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_env.py"
    path.write_text(
        GOOD.format(dependencies=dependencies, extra=extra.replace("\n", "\n# "), body=body)
    )
    return path


# --- environment files --------------------------------------------------------------------------


def test_an_environment_file_is_read_without_being_run(tmp_path):
    body = "MODELS = {'a': 'first', 'b': 'second'}\nraise SystemExit('was run')\n"
    path = environment(
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
def test_broken_files_say_what_is_wrong_and_hurt_nobody_else(tmp_path, case):
    content, message = BROKEN[case]
    folder = tmp_path / "environments"
    environment(folder, "good")
    path = folder / "bad_env.py"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(EnvironmentFileError, match=message) as caught:
        read_environment_file(path, "bad", "root")
    assert str(path) in str(caught.value)
    root = find_root(tmp_path)
    assert resolve("good-x", root)[0].argument == "x"
    if content is not None:
        with pytest.raises(EnvironmentFileError):
            RootstockCalculator("bad", root=tmp_path)
        found = {a.name: a for a in available(root)}
        assert found["bad"].problem
        assert not found["good"].problem
    assert not (tmp_path / "envs").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_an_unreadable_file_is_an_error(tmp_path):
    path = environment(tmp_path)
    path.chmod(0)
    as_nobody(
        f"""
from rootstock import EnvironmentFileError, RootstockCalculator
try: RootstockCalculator(environment={str(path)!r})
except EnvironmentFileError as error: assert "can't be read" in str(error)
else: raise SystemExit("no error")
""",
        tmp_path,
    )


def as_nobody(code: str, folder: Path) -> None:
    """Run code as an unprivileged user, with what it needs to import Rootstock."""
    nobody = pwd.getpwnam("nobody")
    for parent in [folder, *folder.parents][:-1]:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o055)
    script = (
        "import sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "import ase.calculators.calculator, rootstock.calculator, rootstock.environments.build, uv\n"
        "import os\n"
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n" + code
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


ANYTHING = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4) | st.just(">=3.9"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def table(**known):
    """Return a strategy for tables with known keys, each of the known kind or of any other."""
    optional = {key.replace("_", "-"): value | ANYTHING for key, value in known.items()}
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
    assert all(isinstance(one, str) for one in file.elements("a"))
    assert isinstance(metadata_digest(file), str)


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from(["mace", "-", "/", "medium", "uma", "\0", "é"])).map("".join)
)
def test_any_model_string_is_resolved_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        try:
            spec, file = resolve(text, find_root(folder))
        except ConfigurationError:
            return
    assert text in (spec.environment + "-" + spec.argument, spec.environment)
    assert file.name == spec.environment


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "root = ",
                "cluster = ",
                "'/a'\n",
                "'~x/b'\n",
                "[clusters]\n",
                "a = ",
                "5\n",
                "[[",
                "'\\u0000'",
            ]
        )
        | st.text(max_size=3)
    ).map(lambda pieces: "".join(pieces).encode())
)
def test_any_config_file_is_read_or_refused(raw):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "config.toml")
        path.write_bytes(raw)
        patch.setenv("ROOTSTOCK_CONFIG", str(path))
        try:
            found = read_config()
        except ConfigurationError as error:
            assert str(path) in str(error)
            return
    assert found.root is None or found.root.is_absolute()
    assert all(folder.is_absolute() for folder in found.clusters.values())


# --- model strings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("mace-medium", "mace", "medium"),
        ("mace-small", "mace", "small"),
        ("mace-medium-mpa-0", "mace", "medium-mpa-0"),
        ("mace-/path/to/weights.pt", "mace", "/path/to/weights.pt"),
        ("mace-/path/with - odd/näme\n.pt", "mace", "/path/with - odd/näme\n.pt"),
        ("chgnet", "chgnet", ""),
        ("chgnet-", "chgnet", ""),
        ("my-own", "my-own", ""),
        ("my-own-large", "my-own", "large"),
        ("my-other", "my", "other"),
    ],
)
def test_model_strings(tmp_path, text, name, argument):
    environment(tmp_path / "environments", "my")
    environment(tmp_path / "environments", "my-own")
    spec, file = resolve(text, find_root(tmp_path))
    assert (spec.environment, spec.argument) == (name, argument)
    assert file.name == name


def test_the_roots_file_comes_before_the_catalogues(tmp_path):
    root = find_root(tmp_path)
    assert resolve("chgnet", root)[1].origin == "catalogue"
    environment(tmp_path / "environments", "chgnet")
    assert resolve("chgnet", root)[1].path == root.source("chgnet")


@pytest.mark.parametrize(
    ("text", "near"), [("chgnett", "chgnet"), ("maze-medium", "mace"), ("SNAP", "snap")]
)
def test_near_misses(tmp_path, text, near):
    with pytest.raises(UnknownNameError) as caught:
        resolve(text, find_root(tmp_path))
    assert near in caught.value.near
    assert f"did you mean '{near}'" in str(caught.value)


def test_a_relative_path_that_exists_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").touch()
    root = find_root(tmp_path)
    assert resolve("mace-./w.pt", root)[0].argument == str(tmp_path / "w.pt")
    assert resolve("mace-./v.pt", root)[0].argument == "./v.pt"


def test_every_file_of_the_catalogue_is_good(tmp_path):
    found = {a.name: a for a in available(find_root(tmp_path))}
    assert {"chgnet", "emt", "mace", "sevennet", "snap"} <= found.keys()
    for entry in found.values():
        assert not entry.problem
        assert entry.file.models
        assert "Licence" in entry.path.read_text()


# --- roots and clusters -------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    monkeypatch.setenv("ROOTSTOCK_CONFIG", str(path))
    return path


def test_the_order_in_which_a_root_is_looked_for(config, tmp_path, monkeypatch):
    config.write_text("")
    assert find_root().path == Path(os.environ["XDG_DATA_HOME"]) / "rootstock"
    config.write_text("cluster = 'here'\n[clusters]\nhere = '/from/cluster'\ndella = '/my/della'")
    assert find_root().path == Path("/from/cluster")
    config.write_text(
        "root = '/from/config'\n[clusters]\nhere = '/from/cluster'\ndella = '/my/della'"
    )
    assert find_root().path == Path("/from/config")
    monkeypatch.setenv("ROOTSTOCK_ROOT", "/from/variable")
    assert find_root().path == Path("/from/variable")
    assert find_root(cluster="here").path == Path("/from/cluster")
    assert find_root("/given").path == Path("/given")
    assert find_root(cluster="della").path == Path("/my/della")
    monkeypatch.chdir(tmp_path)
    assert find_root("relative").path == tmp_path / "relative"


def test_built_in_clusters():
    assert find_root(cluster="modal").path == Path("/vol/rootstock")
    assert find_root(cluster="della").path == Path("/scratch/gpfs/SHARED/rootstock")


def test_a_site_adds_clusters_too(tmp_path, monkeypatch):
    site = tmp_path / "rootstock" / "config.toml"
    site.parent.mkdir()
    site.write_text("cluster = 'ours'\n[clusters]\nours = '/site'\n")
    monkeypatch.setenv("XDG_CONFIG_DIRS", f":{tmp_path}")
    assert find_root().path == Path("/site")


@pytest.mark.parametrize(
    "text",
    [
        "root = ",
        "root = 1",
        "rooot = '/a'",
        "root = '/a'\ncluster = 'b'",
        "clusters = 5",
        "[clusters]\na = 1",
        "\x00",
        "root = '~nobody-of-that-name/x'",
        'root = "nul\\u0000"',
        "[clusters]\na = '~nobody-of-that-name/x'",
    ],
)
def test_broken_config_files(config, text):
    config.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        find_root()
    assert find_root("/given").path == Path("/given")


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "nul\0"])
def test_paths_that_are_none(path):
    with pytest.raises(ConfigurationError, match="no such user"):
        find_root(path)
    with pytest.raises(ConfigurationError, match="no such user"):
        RootstockCalculator(environment=path)


def test_a_named_config_file_must_exist(config):
    with pytest.raises(ConfigurationError, match="does not exist"):
        find_root()


# --- locks --------------------------------------------------------------------------------------


def test_metadata_decides_the_digest_and_setup_does_not(tmp_path):
    def digest(**parts) -> str:
        return metadata_digest(read_environment_file(environment(tmp_path, **parts), "my", "file"))

    same = digest(dependencies='"six"')
    assert digest(dependencies='"six"', body="X = 1") == same
    assert digest(dependencies='"six"', extra='[tool.rootstock.variables]\nA = "1"') == same
    assert digest(dependencies='"six", "numpy"') != same
    assert digest(dependencies='"six"', extra='[tool.rootstock]\npython = "3.12"') != same
    assert digest(dependencies='"six"', extra="[tool.uv]\nno-binary-package = ['six']") != same


def test_relative_paths_mean_the_environment_files_folder(tmp_path):
    extra = '[tool.uv]\nfind-links = ["wheels", "https://x.invalid/w"]\n[tool.uv.sources]\nmine = { path = "../mine" }\n[[tool.uv.index]]\nurl = "simple"'
    file = read_environment_file(environment(tmp_path / "e", extra=extra), "my", "file")
    write_project(file, tmp_path)
    text = (tmp_path / "pyproject.toml").read_text()
    for expected in (
        f"{tmp_path}/e/wheels",
        "https://x.invalid/w",
        f"{tmp_path}/e/../mine",
        f"{tmp_path}/e/simple",
    ):
        assert expected in text


class FakeUv:
    """Stands in for uv's process alone: answers what uv would print."""

    def __init__(self, fail) -> None:
        self.commands: list[list[str]] = []
        self._fail = fail

    def run(self, arguments, what, *, directory, **_):
        command = [str(a) for a in arguments]
        self.commands.append(command)
        words = self._fail(command)
        if words:
            raise BuildError(words, words)
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
    file = read_environment_file(environment(tmp_path / "e", **parts), "my", "file")
    (tmp_path / "work").mkdir()
    uv = FakeUv(fail)
    lock = lock_module.make_lock(file, tmp_path / "pylock.my.toml", tmp_path / "work", uv)
    assert lock == read_lock(tmp_path / "pylock.my.toml")
    return lock, uv.commands


def test_the_newest_python_with_wheels_is_chosen(tmp_path, monkeypatch):
    fail = lambda c: "no wheel" if "3.13.0" in str(c) and "--only-binary" in c else ""  # noqa: E731
    assert compiled(tmp_path, fail, monkeypatch)[0].python == "3.12"


def test_without_wheels_the_newest_python_is_chosen(tmp_path, monkeypatch):
    fail = lambda c: "no wheel" if "--only-binary" in c else ""  # noqa: E731
    assert compiled(tmp_path, fail, monkeypatch)[0].python == "3.13"


def test_a_maintainer_can_say_which_python(tmp_path, monkeypatch):
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
    given = (
        commands[0][commands[0].index("--torch-backend") + 1]
        if "--torch-backend" in commands[0]
        else None
    )
    assert given == expected


def test_a_files_own_source_of_torch_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    extra = "[tool.uv.sources]\ntorch = { index = 'mine' }"
    assert not [
        c
        for c in compiled(tmp_path, lambda c: "", monkeypatch, extra=extra)[1]
        if "--torch-backend" in c
    ]


def test_an_unreachable_pytorch_index_falls_back_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    words = "Failed to fetch: https://download.pytorch.org/whl/cpu/torch/"
    fail = lambda c: words if "--torch-backend" in c else ""  # noqa: E731
    with pytest.warns(UserWarning, match="several GB"):
        _, commands = compiled(tmp_path, fail, monkeypatch)
    assert sum("--torch-backend" in c for c in commands) == 1


# --- progress -----------------------------------------------------------------------------------


def test_progress_fits_where_it_is_shown(monkeypatch, capsys):
    assert isinstance(default_progress(), LineProgress)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert isinstance(default_progress(), LiveProgress)
    monkeypatch.setattr("sys.stderr", None)
    assert type(default_progress()) is Progress


def test_plain_lines(capsys):
    progress = LineProgress()
    progress.begin("building")
    progress.line("one")
    progress.end("ready")
    progress.end()
    assert capsys.readouterr().err == "rootstock: building\nrootstock: one\nrootstock: ready\n"


def test_the_live_display_ends_with_its_summary(capsys):
    progress = LiveProgress()
    progress.begin("building")
    progress.line("a [dim]line")
    progress.end("ready [now]")
    progress.end()
    assert "ready [now]" in capsys.readouterr().err
