"""The variables, paths and modules that a worker sees."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rootstock import RootstockCalculator
from tests.support.paths import PROBE
from tests.support.structures import copper


def test_a_cuda_index_becomes_a_mask(make, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    calc = RootstockCalculator(**{**make("probe-world").parameters, "device": "cuda:1"})
    with calc:
        calc.calculate(copper())
        assert calc.results["environ"]["CUDA_VISIBLE_DEVICES"] == "GPU-b"
        assert calc.device == "cuda:1"


def test_nothing_of_the_caller_reaches_the_worker(make, monkeypatch, tmp_path):
    (tmp_path / "ase.py").write_text("raise SystemExit('leaked')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('leaked')")
    monkeypatch.chdir(tmp_path)
    for name in (
        "PYTHONPATH",
        "PYTHONHOME",
        "LD_PRELOAD",
        "CONDA_PREFIX",
        "VIRTUAL_ENV",
        "PYTHONSTARTUP",
    ):
        if name != "PYTHONHOME":
            monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("OWN", "kept")
    calc = make("probe-world", threads=3)
    calc.calculate(copper())
    world = calc.results
    variables = world["environ"]
    assert variables["OWN"] == "kept"
    assert not [
        name for name in variables if name.startswith(("PYTHON", "CONDA", "UV_", "VIRTUAL", "LD_"))
    ]
    assert variables["OMP_NUM_THREADS"] == variables["MKL_NUM_THREADS"] == "3"
    root = Path(calc.parameters["root"])
    assert variables["HF_HOME"] == str(root / "cache" / "huggingface")
    assert variables["XDG_CACHE_HOME"] == str(root / "cache")
    assert variables["HOME"] == world["cwd"] == str(root / "home")
    assert not [p for p in world["path"] if "site-packages" in p and not p.startswith(str(root))]
    assert str(tmp_path) not in str(world["path"])
    assert world["modules"] and all(n.startswith("_rootstock") for n in world["modules"])
    assert world["argv"] == ["rootstock-worker"]
    assert world["stdin"] == ""


def test_the_worker_knows_the_path_of_the_users_token(make, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME", raising=False)
    token = tmp_path / ".cache" / "huggingface" / "token"
    token.parent.mkdir(parents=True)
    token.write_text("hf_secret")
    calc = make("probe-world")
    calc.calculate(copper())
    assert calc.results["environ"]["HF_TOKEN_PATH"] == str(token)
    assert "hf_secret" not in json.dumps(calc.provenance.as_dict())


@pytest.mark.model
def test_variables_of_the_environment_file(probe_root):
    text = PROBE.read_text().replace(
        '# ///\n"',
        '# [tool.rootstock.variables]\n# OWN = "set"\n# OMP_NUM_THREADS = "7"\n# ///\n"',
    )
    (probe_root / "environments" / "probe_env.py").write_text(text)
    from ase.build import bulk

    with RootstockCalculator("probe-world", root=probe_root) as calc:
        calc.calculate(bulk("Cu"))
        assert calc.results["environ"]["OWN"] == "set"
        assert calc.results["environ"]["OMP_NUM_THREADS"] == "7"
    shutil.copyfile(PROBE, probe_root / "environments" / "probe_env.py")
