"""Names of clusters that stand for roots."""

from __future__ import annotations

from pathlib import Path

from rootstock import find_root


def test_built_in_clusters():
    assert find_root(cluster="modal").path == Path("/vol/rootstock")
    assert find_root(cluster="della").path == Path("/scratch/gpfs/SHARED/rootstock")


def test_a_site_adds_clusters_too(tmp_path, monkeypatch):
    site = tmp_path / "rootstock" / "config.toml"
    site.parent.mkdir()
    site.write_text("cluster = 'ours'\n[clusters]\nours = '/site'\n")
    monkeypatch.setenv("XDG_CONFIG_DIRS", f":{tmp_path}")
    assert find_root().path == Path("/site")
