"""Rootstock on Modal: the root is a Modal volume, the cluster is called ``modal``.

::

    modal run modal_app.py::init_rootstock_volume
    modal run modal_app.py::test_new_api
    modal run modal_app.py::benchmark_v3
    modal run modal_app.py::inspect_cache

The volume is mounted at ``/vol``, so that the built-in cluster ``modal`` finds its root there.
Modal commits what a function wrote when the function ends.
"""

from __future__ import annotations

from typing import Any

import modal

app = modal.App("rootstock")
volume = modal.Volume.from_name("rootstock", create_if_missing=True)
image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install("ase", "numpy", "packaging", "platformdirs", "rich", "tomli-w", "typer", "uv")
    .add_local_python_source("rootstock", "benchmarks", copy=True)
)
VOLUMES = {"/vol": volume}


@app.function(image=image, volumes=VOLUMES, timeout=3600)
def init_rootstock_volume(environments: str = "chgnet,sevennet") -> dict[str, str]:
    """Build environments on the volume; return the build id of each. Needs no GPU."""
    from rootstock import install

    built = install(*environments.split(","), cluster="modal")
    return {environment.name: environment.build.id for environment in built}


@app.function(image=image, volumes=VOLUMES, gpu="any", timeout=3600)
def test_new_api(model: str = "chgnet") -> dict[str, Any]:
    """Calculate 125 copper atoms with a model of the volume; return energy (eV) and provenance."""
    from ase.build import bulk

    from rootstock import RootstockCalculator

    atoms = bulk("Cu", "fcc", a=3.6) * (5, 5, 5)
    with RootstockCalculator(cluster="modal", model=model) as calc:
        atoms.calc = calc
        return {"energy": float(atoms.get_potential_energy()), **calc.provenance.as_dict()}


@app.function(image=image, volumes=VOLUMES, gpu="any", timeout=3600)
def benchmark_v3(
    model: str = "chgnet",
    device: str = "cuda",
    sizes: str = "64,256,1000,4000",
    seconds: float = 20.0,
) -> dict[str, Any]:
    """Measure the overhead per call, of a model that returns zeros and of `model`."""
    from pathlib import Path

    from benchmarks.arms import Launcher
    from benchmarks.suite import models, way

    from rootstock import find_root

    folder = Path("/tmp/rootstock-benchmarks")  # noqa: S108
    launcher = Launcher(find_root(cluster="modal").path, folder, device)
    return {
        "way": way(launcher, (32, 864), seconds, ("direct", "rootstock", "ase", "floor")),
        "models": models(launcher, [model], map(int, sizes.split(",")), seconds),
    }


@app.function(image=image, volumes=VOLUMES)
def inspect_cache() -> dict[str, int]:
    """Return the size in bytes of every cache and environment on the volume."""
    from rootstock import find_root

    return find_root(cluster="modal").usage()
