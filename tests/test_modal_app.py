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
    keys = modal_app.init_rootstock_volume.local("emt,snap")
    assert [len(key) for key in keys.values()] == [16, 16]
    found = modal_app.test_new_api.local("snap")
    assert found["energy"] == pytest.approx(-512.126, abs=1e-3)
    assert found["environment_key"] == keys["snap"]
    sizes = modal_app.inspect_cache.local()
    assert sizes["envs/snap"] > 10**7


@pytest.mark.model
def test_the_benchmark(volume, monkeypatch):
    monkeypatch.setattr("benchmarks.overhead.NULL_SIZES", (32, 864))
    monkeypatch.setattr("benchmarks.overhead.MODEL_SIZES", (64,))
    found = modal_app.benchmark_v3.local("snap", 0.2)
    assert [(row["model"], row["natoms"]) for row in found["rows"]] == [
        ("null", 32),
        ("null", 864),
        ("snap", 64),
    ]
    assert all(row["calls"] >= 5 for row in found["rows"])
    from benchmarks.report import markdown

    assert "| snap | 64 |" in markdown({"machine": "here", **found})
