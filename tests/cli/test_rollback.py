"""rootstock rollback."""

from __future__ import annotations

import pytest

from rootstock.environments.builds import LOCK_COPY, current_build
from rootstock.settings.root import Root
from tests.support.command_line import as_json, run
from tests.support.environment_files import add_to_root
from tests.support.fake_builds import add_fake_build


@pytest.fixture
def environment(tmp_path):
    """An environment with the builds ``old`` and ``new``, which is current."""
    environment = add_to_root(Root(tmp_path))
    for build_id in ("old", "new"):
        build = add_fake_build(environment, build_id, current=True)
        (build.folder / LOCK_COPY).write_text(f"# the lock of {build_id}")
    return environment


def current(environment) -> str:
    return current_build(environment.writable.builds).id


def test_to_a_build(environment):
    root = environment.root.path
    assert as_json("rollback", "my", "old", "--root", root) == {"name": "my", "build": "old"}
    assert current(environment) == "old"
    assert environment.writable.lock.read_text() == "# the lock of old"
    result = run("rollback", "my", "new", "--root", root)
    assert result.exit_code == 0 and "my uses build new" in result.stdout
    assert current(environment) == "new"
    before = environment.writable.lock.with_name(
        f"{environment.writable.lock.name}.before-rollback"
    )
    assert before.read_text() == "# the lock of old"


def test_to_an_unknown_build(environment):
    result = run("rollback", "my", "nonsense", "--root", environment.root.path)
    assert result.exit_code == 2
    assert "my has no build nonsense" in result.stderr
    known = result.stderr.partition("builds there: ")[2]
    assert set(known.replace(",", " ").split()) == {"old", "new"}
    assert current(environment) == "new"
    assert not environment.writable.lock.exists()
