"""The Modal functions, run in this process with the volume's path pointed at a folder."""

from __future__ import annotations

import pytest

modal = pytest.importorskip("modal")

pytestmark = pytest.mark.filterwarnings("ignore:.*mounted Volume:UserWarning")

import modal_app


@pytest.fixture
def volume(session_root, tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text(f"[clusters]\nmodal = '{session_root}'\n")
    monkeypatch.setenv("ROOTSTOCK_CONFIG", str(config))
    return session_root


def test_the_functions_are_modals():
    for name in ("init_rootstock_volume", "test_new_api", "benchmark_v3", "inspect_cache"):
        assert isinstance(getattr(modal_app, name), modal.Function)


@pytest.mark.model
def test_init_main_job_and_cache(volume):
    builds = modal_app.init_rootstock_volume.local("emt,snap")
    assert [len(build) for build in builds.values()] == [16, 16]
    result = modal_app.test_new_api.local("snap")
    assert result["energy"] == pytest.approx(-512.126, abs=1e-3)
    assert result["build"] == builds["snap"]
    sizes = modal_app.inspect_cache.local()
    assert sizes["envs/snap"] > 10**7


@pytest.mark.model
def test_the_benchmark(volume):
    results = modal_app.benchmark_v3.local("snap", "cpu", "64", 0.2)
    kinds = ("direct", "rootstock", "ase", "floor")
    assert [(row["kind"], row["natoms"]) for row in results["way"]] == [
        (kind, natoms) for natoms in (32, 864) for kind in kinds
    ]
    assert all(row["whole"] > 0 and row["rounds"] >= 7 for row in results["way"])
    (row,) = results["models"]
    # both arms measured time inside and outside the model
    assert row["direct"] > row["outside_direct"] > 0
    assert row["rootstock"] > row["outside_rootstock"] > 0
    from benchmarks.report import markdown

    table = markdown({"machine": "here", "threads": 1, **results})
    assert "| snap | 64 |" in table and "| ASE socket |" in table
