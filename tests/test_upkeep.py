"""Looking after a root: real uv, small packages, and a second user of this machine."""

from __future__ import annotations

import http.server
import json
import os
import pwd
import shutil
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import PROBE, REPO, needs_root
from test_environments import environment
from typer.testing import CliRunner

from rootstock import (
    BuildError,
    ConfigurationError,
    EnvironmentFileError,
    RootError,
    RootstockCalculator,
    UnknownNameError,
    WeightsError,
    find_root,
)
from rootstock.cli import app
from rootstock.data import BuildOptions
from rootstock.environments import (
    add_files,
    collect,
    history,
    init_root,
    install,
    pack,
    plan_collection,
    prepare,
    read_by_name,
    relock,
    rollback,
    unpack,
)
from rootstock.environments import generations as g
from rootstock.environments.lock import changes, read_lock
from rootstock.environments.weights import check, find_record
from rootstock.fetching import fetch
from rootstock.health import doctor, status
from rootstock.progress import Progress
from rootstock.root import Root

pytestmark = pytest.mark.model
QUIET = Progress()


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def as_json(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def root(tmp_path):
    return init_root(find_root(tmp_path / "a root's folder"))


def put(root, name="my", **parts):
    """Write an environment file into a root; return it as read."""
    environment(root.environments, name=name, **parts)
    return read_by_name(name, root)


# --- init, files -----------------------------------------------------------------------------------


def test_init_makes_the_folders_and_may_be_repeated(tmp_path):
    for _ in range(2):
        found = as_json("init", "--root", tmp_path / "root")
        assert found == {"root": str(tmp_path / "root"), "group": None}
    names = {p.name for p in (tmp_path / "root").iterdir()}
    assert names == {"environments", "envs", "cache", "home"}


@needs_root
def test_init_for_a_group(tmp_path):
    import grp

    name = next(entry.gr_name for entry in grp.getgrall() if entry.gr_gid != os.getgid())
    root = init_root(find_root(tmp_path / "root"), name)
    assert root.is_group_shared
    for folder in (root.path, root.environments, root.cache):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
        assert grp.getgrgid(folder.stat().st_gid).gr_name == name
    file = put(root, dependencies="")
    file.path.chmod(0o664)
    built = prepare(file, root, QUIET)
    marker = built.python.parent.parent / "rootstock.json"
    assert marker.stat().st_mode & 0o060 == 0o060  # what a maintainer makes, another can change
    assert marker.stat().st_gid == root.path.stat().st_gid
    assert not [f for f in doctor(root) if f.topic == "permissions"]
    root.cache.chmod(0o2775 | 0o002)
    (bad,) = [f for f in doctor(root) if f.topic == "permissions"]
    assert bad.level == "problem" and bad.command.startswith("chmod -R o-w")
    root.cache.chmod(0o2770)
    (bad,) = [f for f in doctor(root) if f.topic == "permissions"]
    assert "can't be read by everybody" in bad.detail
    done = run("init", "--root", tmp_path / "other", "--shared", "no-such-group")
    assert done.exit_code == 2 and "there is no group" in done.stderr


def test_doctor_asks_what_is_configured(root, monkeypatch):
    """A mirror counts, not the public host behind it; so does a server that refuses."""
    seen = {f.topic: f for f in doctor(root)}
    assert seen["packages"].level == "ok"
    with socketserver.TCPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
        seen = {f.topic: f for f in doctor(root)}
        server.shutdown()
    assert seen["weights"].level == "ok"
    assert seen["packages"].level == "note" and "127.0.0.1:9" in seen["packages"].detail
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert {f.topic: f for f in doctor(root)}["weights"].level == "note"


def test_files_are_added_all_or_none(root, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("one", "two"):
        environment(folder, name=name, dependencies="")
    assert [f.name for f in add_files(root, [folder])] == ["one", "two"]
    changed = environment(folder, name="one", dependencies='"six"')
    with pytest.raises(ConfigurationError, match=r"differs from .* use --force"):
        add_files(root, [changed])
    add_files(root, [changed], replace=True)
    assert root.source("one").read_bytes() == changed.read_bytes()
    broken = folder / "broken_env.py"
    broken.write_text("def setup(:")
    with pytest.raises(EnvironmentFileError):
        add_files(root, [environment(folder, name="three"), broken])
    assert not root.source("three").exists()
    with pytest.raises(EnvironmentFileError, match=r"must be called NAME_env\.py"):
        add_files(root, [PROBE.with_name("probe.py")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EnvironmentFileError, match=r"there is no file NAME_env\.py"):
        add_files(root, [tmp_path / "empty"])


def test_install_takes_a_file(root, tmp_path):
    path = environment(tmp_path, name="own", dependencies='"six==1.16.0"')
    found = as_json("install", path, "--root", root.path)
    assert list(found["environments"]) == ["own"]
    shown = as_json("show", "own", "--root", root.path)
    assert shown["packages"] == {"six": "1.16.0"}
    assert shown["current"]["key"] == found["environments"]["own"]
    assert shown["current"]["marker"]["user"] and shown["current"]["marker"]["platform"]
    assert "six==1.16.0" in run("show", "own", "--root", root.path).stdout


def test_new_writes_a_file_that_works(tmp_path, root):
    as_json("new", "mine", "--folder", tmp_path)
    (file,) = add_files(root, [tmp_path / "mine_env.py"])
    assert file.summary == "mine: one line that says what it is."
    assert run("new", "mine", "--folder", tmp_path).exit_code == 2
    assert run("new", "a/b").exit_code == 2


# --- generations and locks ----------------------------------------------------------------------------


def test_history_and_rollback(root, monkeypatch):
    old = prepare(put(root, dependencies='"six==1.16.0"'), root, QUIET)
    text, lock = root.source("my").read_text(), root.lock(old.file).read_text()
    assert [h.state for h in status(root) if h.name == "my"] == ["ready"]
    file = put(root, dependencies='"six==1.17.0"')
    (health,) = [h for h in status(root) if h.name == "my"]
    assert (health.state, health.command) == ("stale", "rootstock install my")
    new = prepare(file, root, QUIET)
    found = as_json("history", "my", "--root", root.path)["generations"]
    assert [(one["key"], one["current"]) for one in found] == [(new.key, True), (old.key, False)]
    monkeypatch.setattr("rootstock.environments.build.Uv", None)  # any use would raise
    assert as_json("rollback", "my", "--root", root.path) == {"name": "my", "key": old.key}
    assert root.source("my").read_text() == text
    assert root.lock(old.file).read_text() == lock
    assert prepare(read_by_name("my", root), root, QUIET).key == old.key
    assert [h.state for h in status(root) if h.name == "my"] == ["ready"]
    done = run("rollback", "my", "--root", root.path)
    assert done.exit_code == 2 and "no older environment" in done.stderr
    rollback(read_by_name("my", root), root, new.key)
    assert prepare(read_by_name("my", root), root, QUIET).key == new.key


def test_an_upgrade_says_what_changed(root):
    put(root, dependencies='"six==1.15.0"')
    relock(read_by_name("my", root), root, QUIET)
    put(root, dependencies='"six"')
    found = as_json("install", "my", "--root", root.path)
    assert found["changed"] == {}
    before = read_lock(root.lock(read_by_name("my", root)))
    assert before.packages == {"six": "1.15.0"}  # a pin is kept as long as it fits
    found = as_json("install", "my", "--upgrade", "--root", root.path)
    after = read_lock(root.lock(read_by_name("my", root)))
    assert found["changed"]["my"] == [f"six 1.15.0 -> {after.packages['six']}"]
    (change,) = changes(before, after)
    assert (change.name, change.before) == ("six", "1.15.0")
    assert len(history(read_by_name("my", root), root)) == 2


def test_lock_alone_builds_nothing_and_makes_the_built_one_stale(root):
    file = put(root, dependencies='"six==1.15.0"')
    prepare(file, root, QUIET)
    put(root, dependencies='"six"')
    relock(read_by_name("my", root), root, QUIET)
    found = as_json("lock", "my", "--upgrade", "--root", root.path)
    assert found["packages"] == 1
    assert found["changes"][0]["before"] == "1.15.0"
    assert len(history(file, root)) == 1
    assert [h.state for h in status(root) if h.name == "my"] == ["stale"]
    assert run("status", "--check", "--root", root.path).exit_code == 9


def test_force_builds_beside(root):
    file = put(root, dependencies="")
    one = prepare(file, root, QUIET)
    two = install(file, root, QUIET, BuildOptions(force=True))
    assert two.key.startswith(f"{one.key}-") and one.python.exists()
    assert prepare(file, root, QUIET).key == two.key


def test_another_python(root):
    file = put(root, dependencies="")
    built = install(file, root, QUIET, BuildOptions(python="3.12"))
    version = subprocess.run(
        [built.python, "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("Python 3.12")
    assert prepare(file, root, QUIET) == built  # and it stays so


# --- cleaning up -----------------------------------------------------------------------------------


def test_collection(root):
    file = put(root, dependencies='"six==1.16.0"')
    old = prepare(file, root, QUIET)
    prepare(put(root, dependencies='"six==1.17.0"'), root, QUIET)
    folder = root.generations(file)
    (folder / ".building-dead").mkdir()
    (root.cache / "orphan").mkdir()
    assert {item.path.name for item in plan_collection(root)} == {".building-dead"}
    assert {i.path.name for i in plan_collection(root, caches=True)} == {".building-dead", "orphan"}
    with subprocess.Popen([old.python, "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(0.3)
        assert {i.path.name for i in plan_collection(root, days=0)} == {".building-dead"}
        process.stdin.close()
    plan = plan_collection(root, days=0)
    assert {i.path.name for i in plan} == {".building-dead", old.key}
    assert as_json("gc", "--days", "0", "--dry-run", "--root", root.path)["removed"] is False
    assert old.python.exists()
    found = as_json("gc", "--days", "0", "--yes", "--root", root.path)
    assert found["removed"] and len(found["items"]) == 2 and not found["failed"]
    assert not old.python.exists()
    assert not plan_collection(root, days=0)
    assert collect(plan) == []  # what is gone already is no failure
    with g.building(folder, QUIET):  # what a living builder has is no leftover
        (folder / ".building-alive").mkdir()
        assert not plan_collection(root, days=0)
    shutil.rmtree(folder / ".building-alive")


def test_uninstall(root):
    file = put(root, dependencies="")
    prepare(file, root, QUIET)
    found = as_json("uninstall", "my", "--root", root.path)["paths"]
    assert len(found) == 3
    assert not any(root.path.rglob("*my*"))
    done = run("uninstall", "chgnet", "--root", root.path)
    assert done.exit_code == 2 and "is not installed" in done.stderr


# --- weights ----------------------------------------------------------------------------------------


@pytest.fixture
def over(probe_root, tmp_path):
    """A user's overlay over the session's root, so that nothing has to be built again."""
    shared = Root(probe_root)
    prepare(read_by_name("probe", shared), shared, QUIET)
    return Root(probe_root, overlay=tmp_path / "overlay")


def test_fetched_weights_are_recorded_checked_and_offline(over):
    record = fetch("probe-downloads", root=over)
    (file,) = record.files
    assert file.path == "cache/probe/weights.bin" and file.size == 1000
    assert not list(Path(over.path).glob("records/weights/probe/downloads.json"))
    path = over.overlay / file.path
    with RootstockCalculator("probe-downloads", root=over, device="cpu") as calc:
        assert calc.provenance["weights"] == {file.path: file.sha256}
        assert calc.recipe.offline
    with RootstockCalculator("probe-world", root=over, device="cpu") as calc:
        assert not calc.recipe.offline
    layer, found = find_record(over, "probe", "downloads")
    assert check(layer, found, deep=True) == []
    path.write_bytes(b"v" * 1000)
    assert check(layer, found) == []
    assert "another content" in check(layer, found, deep=True)[0]
    assert [h.state for h in status(over, deep=True) if h.name == "probe-downloads"] == ["damaged"]
    path.write_bytes(b"short")
    with pytest.raises(
        WeightsError, match=r"5 bytes, 1000 were fetched.*rootstock fetch probe-dow"
    ):
        RootstockCalculator("probe-downloads", root=over)
    path.unlink()
    with pytest.raises(WeightsError, match=r"weights\.bin is missing"):
        RootstockCalculator("probe-downloads", root=over)
    (health,) = [h for h in status(over) if h.name == "probe-downloads"]
    assert (health.state, health.command) == ("damaged", "rootstock fetch probe-downloads")
    fetch("probe-downloads", root=over)  # mends it
    RootstockCalculator("probe-downloads", root=over).close()


def test_a_warm_cache_is_recorded_all_the_same(over):
    first = fetch("probe-downloads", root=over)
    assert fetch("probe-downloads", root=over).files == first.files


def test_own_weights_are_in_the_provenance(over, tmp_path):
    import hashlib

    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"mine")
    file = over.own.environments / "file_env.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = PROBE.read_text().replace('if model == "null"', 'if model.endswith(".pt")')
    file.write_text(text)
    with RootstockCalculator(f"file-{weights}", root=over, device="cpu") as calc:
        digest = hashlib.sha256(b"mine").hexdigest()
        assert calc.provenance["weights"] == {str(weights): digest}


def test_offline_variables(over):
    fetch("probe-world", root=over)
    from ase.build import bulk

    with RootstockCalculator("probe-world", root=over, device="cpu") as calc:
        calc.calculate(bulk("Cu"), ["energy"])
        environ = calc.results["environ"]
    assert environ["HF_HUB_OFFLINE"] == "1" and environ["TRANSFORMERS_OFFLINE"] == "1"
    assert environ["HOME"].startswith(str(over.overlay))


def test_a_model_that_could_not_download_says_how(over, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from rootstock import SetupError

    calc = RootstockCalculator("probe-downloads", root=over, device="cpu")
    with pytest.raises(SetupError, match="run 'rootstock fetch probe-downloads'"):
        calc.report


# --- packs ------------------------------------------------------------------------------------------


NO_NETWORK = """
import socket, sys
from rootstock import RootstockCalculator, find_root
from rootstock.environments import unpack
from pathlib import Path
from ase.build import bulk
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError:
    pass
else:
    sys.exit("there is a network")
root = find_root(sys.argv[2])
unpack(Path(sys.argv[1]), root)
atoms = bulk("Cu")
with RootstockCalculator("probe-downloads", root=root, device="cpu") as calc:
    atoms.calc = calc
    print(atoms.get_potential_energy(), calc.recipe.offline)
"""


@needs_root
def test_a_pack_runs_where_there_is_no_network(over, tmp_path):
    fetch("probe-downloads", root=over)
    archive = tmp_path / "probe.tar"
    models = pack(read_by_name("probe", over), over, archive, QUIET)
    assert models == ["probe-downloads"]
    assert not list(tmp_path.glob(".*"))
    elsewhere = tmp_path / "node local disk"
    command = ["unshare", "-n", sys.executable, "-c", NO_NETWORK, archive, elsewhere]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0.0 True\n"
    assert (elsewhere / "cache" / "probe" / "weights.bin").read_bytes() == b"w" * 1000
    assert [h.state for h in status(find_root(elsewhere))] == ["ready", "fetched"]


def test_packs_that_are_none(root, tmp_path):
    path = tmp_path / "x.tar"
    done = run("unpack", path, "--root", root.path)
    assert done.exit_code == 2 and "there is no archive" in done.stderr
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="is no archive"):
        unpack(path, root, QUIET)
    with pytest.raises(ConfigurationError, match="is not built"):
        pack(put(root, dependencies=""), root, path, QUIET)
    assert not list((root.path / "envs").glob(".building*"))


# --- no network, wheels by hand -----------------------------------------------------------------------


@needs_root
def test_wheels_by_hand_in_a_network_namespace(root, tmp_path):
    wheels = tmp_path / "wheels"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "six==1.16.0"]
    subprocess.run([*command, "-d", wheels], check=True, capture_output=True)
    put(root, dependencies='"six"')
    command = ["unshare", "-n", sys.executable, "-m", "rootstock", "install", "my", "--json"]
    command += ["--root", root.path, "--offline", "--find-links", wheels]
    variables = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "empty cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
    key = json.loads(done.stdout)["environments"]["my"]
    python = root.path / "envs" / "my" / key / "bin" / "python"
    found = [python, "-c", "import six; print(six.__version__)"]
    assert subprocess.run(found, capture_output=True, text=True, check=True).stdout == "1.16.0\n"


# --- a site's own packages ------------------------------------------------------------------------------


def make_site(folder: Path, six: str = "1.11.0") -> Path:
    """Make an interpreter whose site packages hold a PyTorch, in name, and six."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    for name, version in (("torch", "2.13.0+site"), ("six", six)):
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)
        (info / "RECORD").write_text("")
        (packages / f"{name}.py").write_text(f"__version__ = {version!r}\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site"))


def test_an_environment_over_a_site(root, site):
    put(root, dependencies='"torch>=2.4", "packaging"')
    found = as_json(
        *("install", "my", "--root", root.path, "--system-site-packages", "--python", site)
    )
    lock = read_lock(root.lock(read_by_name("my", root)))
    assert set(lock.packages) == {"packaging"}  # the site's PyTorch and six are left alone
    assert lock.site == ("six==1.11.0", "torch==2.13.0+site")
    python = root.path / "envs" / "my" / found["environments"]["my"] / "bin" / "python"
    code = "import torch, six, packaging; print(torch.__version__, six.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2.13.0+site 1.11.0\n"
    assert prepare(read_by_name("my", root), root, QUIET).key == found["environments"]["my"]


def test_the_file_can_say_so(root, site):
    table = f'[tool.rootstock]\npython = "{site}"\nsystem-site-packages = true\n'
    table += 'site-packages = ["torch"]'
    file = put(root, dependencies='"torch", "six==1.16.0"', extra=table)
    prepare(file, root, QUIET)
    lock = read_lock(root.lock(file))
    assert lock.packages == {"six": "1.16.0"} and lock.site == ("torch==2.13.0+site",)


@pytest.mark.parametrize(
    ("dependencies", "options", "words"),
    [
        ('"torch>=2.14"', {"python": "SITE"}, r"needs torch>=2.14, but .* has torch 2.13.0\+site"),
        ('"torch"', {"python": "3.11"}, "say which: --python /path/to/python"),
        ('"torch"', {}, "say which"),
        # what a dependency of a dependency needs is checked, too
        (
            '"torch", "python-dateutil==2.9.0"',
            {"python": "OLD"},
            r"needs six >=1\.5, there is 1\.4",
        ),
    ],
)
def test_a_site_that_does_not_fit(root, site, dependencies, options, words, tmp_path):
    file = put(root, dependencies=dependencies)
    pythons = {"SITE": str(site)}
    if options.get("python") == "OLD":
        pythons["OLD"] = str(make_site(tmp_path / "old", six="1.4"))
    options = {name: pythons.get(value, value) for name, value in options.items()}
    with pytest.raises(BuildError, match=words):
        install(file, root, QUIET, BuildOptions(system_site_packages=True, **options))
    assert not history(file, root)


TORCH_FILE = """# /// script
# requires-python = ">=3.10"
# dependencies = ["torch>=2.4", "ase>=3.23", "six==1.16.0"]
# ///
def setup(model, device):
    import six
    import torch
    from ase.calculators.lj import LennardJones

    calc = LennardJones(sigma=2.3, epsilon=0.4)
    print(torch.__file__, six.__file__, float(torch.ones(3).sum()))
    return calc
"""


def test_over_a_real_pytorch(root, torch_root):
    """CHGNet's environment plays the site: its packages hold PyTorch, NumPy, ASE."""
    from ase.build import bulk

    place = find_root(torch_root)
    theirs = prepare(read_by_name("chgnet", place), place, QUIET)
    root.source("my").write_text(TORCH_FILE)
    file = read_by_name("my", root)
    options = BuildOptions(python=str(theirs.python), system_site_packages=True)
    install(file, root, QUIET, options)
    lock = read_lock(root.lock(file))
    # six is in CHGNet's environment, in whatever version its plotting wants
    assert set(lock.packages) <= {"six"}
    assert any(pin.startswith("torch==2.") for pin in lock.site)
    with RootstockCalculator("my", root=root, device="cpu") as calc:
        assert calc.get_potential_energy(bulk("Cu", cubic=True)) < 0
        assert str(theirs.python.parent.parent) in calc.log.splitlines()[0].split()[0]
        assert calc.provenance["packages"]["torch"].startswith("2.")


# --- Ctrl-C -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.3, 1.0, 2.5])
def test_ctrl_c_in_an_install_leaves_nothing_half_done(root, after, tmp_path):
    import signal

    file = put(root, dependencies='"six==1.16.0"')
    old = prepare(file, root, QUIET)
    put(root, dependencies='"ase", "pandas", "scikit-learn"')
    process = subprocess.Popen(
        [sys.executable, "-m", "rootstock", "install", "my", "--root", root.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "empty cache")},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all of the group
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), errors  # before Python's own start, -2
    assert "Traceback" not in errors or process.returncode != 130
    assert not list(root.generations(file).glob(".*"))
    assert g.current(root.generations(file))[0].name == old.key


# --- another user ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A shared root that another user can only read, with a copy of Rootstock that they can read."""
    folder = Path(tempfile.mkdtemp(prefix="rootstock-test-"))
    folder.chmod(0o755)
    shutil.copytree(REPO / "src" / "rootstock", folder / "lib" / "rootstock")
    root = init_root(find_root(folder / "root"))
    shutil.copyfile(PROBE, root.source("probe"))
    python = next(
        (p for p in ("/usr/bin/python3.11", "/usr/bin/python3") if Path(p).exists()), None
    )
    arguments = ["install", "probe", "--root", root.path, "--models", "downloads"]
    found = as_json(*arguments, *(["--python", python] if python else []))
    assert found["fetched"] == ["probe-downloads"]
    nobody = pwd.getpwnam("nobody")
    home = folder / "home"
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("secret")
    for path in [home, *home.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    yield folder
    shutil.rmtree(folder)


def as_user(folder: Path, code: str):
    """Run code as the user nobody, whose home is in `folder`."""
    nobody = pwd.getpwnam("nobody")
    script = (
        "import sys, os, importlib, pkgutil\n"
        f"sys.path[:0] = {[str(folder / 'lib'), *sys.path]!r}\n"
        "import rootstock, ase.build, ase.calculators.calculator, uv, rich.console, numpy.linalg\n"
        "import ase.calculators.emt, ase.spacegroup.spacegroup, encodings.idna\n"
        f"assert rootstock.__file__.startswith({str(folder)!r}), rootstock.__file__\n"
        "for found in pkgutil.walk_packages(rootstock.__path__, 'rootstock.'):\n"
        "    if not any(w in found.name for w in ('catalogue', 'worker', 'lammps', '__main__')):\n"
        "        importlib.import_module(found.name)\n"
        f"os.environ['HOME'] = {str(folder / 'home')!r}\n"
        "for name in list(os.environ):\n"
        "    if name.startswith(('XDG_', 'UV_', 'ROOTSTOCK_')): del os.environ[name]\n"
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n"
        f"root = {str(folder / 'root')!r}\n"
        "from rootstock import *\nfrom ase.build import bulk\n" + code
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def look(folder: Path) -> dict:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in (folder / "root").rglob("*")
    }


@needs_root
def test_another_user_runs_and_writes_nothing_into_the_shared_root(world):
    before = look(world)
    out = as_user(
        world,
        "atoms = bulk('Cu')\n"
        "with RootstockCalculator('probe-downloads', root=root, device='cpu') as calc:\n"
        "    atoms.calc = calc\n"
        "    atoms.get_potential_energy()\n"
        "    print(calc.recipe.offline, len(calc.provenance['weights']))\n"
        "with RootstockCalculator('probe-world', root=root, device='cpu') as calc:\n"
        "    calc.calculate(atoms, ['energy'])\n"
        "    print(open(calc.results['environ']['HF_TOKEN_PATH']).read())\n",
    )
    assert out == "True 1\nsecret\n"
    assert look(world) == before
    (overlay,) = (world / "home" / ".local" / "share" / "rootstock-overlays").iterdir()
    link = overlay / "cache" / "probe" / "weights.bin"
    assert (
        link.is_symlink() and link.resolve() == world / "root" / "cache" / "probe" / "weights.bin"
    )
    assert (overlay / "cache" / "probe" / "weights.bin.lock").read_text() == "locked"
    assert (world / "home" / ".cache" / "rootstock" / "triton" / "written").exists()


@needs_root
def test_another_user_adds_their_own_over_it(world):
    before = look(world)
    out = as_user(
        world,
        "from pathlib import Path\n"
        "from rootstock.environments import add_files, available\n"
        "from rootstock.fetching import fetch\n"
        "from rootstock.health import doctor, status\n"
        "place = find_root(root)\n"
        "mine = Path.home() / 'mine_env.py'\n"
        "mine.write_text(place.files()['probe'][0].read_text())\n"
        "add_files(place, [mine])\n"
        "origins = {e.name: e.origin for e in available(place)}\n"
        "print(origins['mine'], origins['probe'], origins['chgnet'])\n"
        "print({h.name: h.state for h in status(place)})\n"
        "print([f.level for f in doctor(place) if f.topic == 'root'])\n"
        "print(len(fetch('probe-world', root=root).files))\n",
    ).splitlines()
    assert out[0] == "overlay root catalogue"
    assert "'probe': 'ready'" in out[1] and "'mine': 'not built'" in out[1]
    assert "'probe-downloads': 'fetched'" in out[1]
    assert out[2] == "['ok']"
    assert out[3] == "0"
    assert look(world) == before


@needs_root
def test_the_maintainers_edit_does_not_make_users_build(world):
    source = world / "root" / "environments" / "probe_env.py"
    text = source.read_text()
    source.write_text(text.replace('"ase>=3.22.1"', '"ase>=3.22.1", "six"'))
    try:
        out = as_user(
            world,
            "with RootstockCalculator('probe-null', root=root, device='cpu') as calc:\n"
            "    print(calc.get_potential_energy(bulk('Cu')))\n",
        )
    finally:
        source.write_text(text)
    assert out == "0.0\n"


@needs_root
def test_init_of_somebody_elses_root_is_refused(world):
    out = as_user(
        world,
        "from rootstock.environments import init_root\n"
        "try:\n    init_root(find_root(root))\n"
        "except RootError as error:\n    print(error)\n",
    )
    assert "you may not write to it" in out


def test_unknown_names(root):
    for command in ("show", "history", "rollback", "uninstall", "lock", "pack"):
        done = run(command, "chgnett", "--root", root.path)
        assert done.exit_code == 2 and "chgnet" in done.stderr, command
    with pytest.raises(UnknownNameError):
        fetch("chgnett", root=root)
    with pytest.raises(RootError):
        init_root(find_root("/proc/nowhere"))
