"""The examples of the page about clusters, with parsl, executorlib and a real Slurm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from ase.build import bulk
from ase.io import write

from rootstock.environments.build import prepare_environment
from rootstock.environments.discovery import find_environment
from rootstock.settings.root import Root
from tests.support.builds import QUIET
from tests.support.paths import BIN, REPO, TESTS
from tests.support.processes import worker_pids
from tests.support.slurm import missing_programs, output, slurm
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

PAGE = (REPO / "docs" / "how-to" / "clusters.md").read_text()
#: What the examples name and the tests don't have.
ELSEWHERE = {'"chgnet"': '"springs-slow"', 'device="cuda"': 'device="cpu"'}


def example(name: str, changes: dict[str, str]) -> str:
    """Return an example of the page, with other models and machines."""
    (code,) = re.findall(rf"<!-- cluster: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    for old, new in changes.items():
        assert old in code, old
        code = code.replace(old, new)
    return code


@pytest.fixture
def folder(tmp_path):
    """A folder with the structures of the examples, one of which fails."""
    folder = tmp_path / "work"
    folder.mkdir()
    images = [bulk("Cu", cubic=True, a=3.5 + 0.0005 * number) for number in range(400)]
    images[30].info["do"] = "raise"
    write(folder / "structures.extxyz", images)
    return folder


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """Variables of the examples: a root with the springs, and the programs of this environment."""
    root = Root(tmp_path_factory.mktemp("root"))
    root.create()
    shutil.copyfile(
        TESTS / "support" / "batch_env.py", root.writable.environments / "springs_env.py"
    )
    prepare_environment(find_environment("springs", root), QUIET)
    return {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "ROOTSTOCK_ROOT": str(root.path),
    }


@pytest.fixture
def slurm_variables(tmp_path_factory, variables):
    """The same, with a Slurm."""
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)}")
    with slurm(tmp_path_factory.mktemp("slurm") / "slurm") as found:
        yield {**found, **variables, "PATH": f"{variables['PATH']}:{found['PATH']}"}


def run(code: str, folder, variables) -> list[str]:
    """Run an example; return the lines it printed."""
    (folder / "example.py").write_text(code)
    with open(folder / "stderr", "w") as stderr:
        done = subprocess.run(
            [sys.executable, "example.py"],
            cwd=folder,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=stderr,  # a file: processes that an engine leaves for a moment would hold a pipe
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, (folder / "stderr").read_text()[-3000:]
    return done.stdout.splitlines()


def check(lines: list[str]) -> None:
    """Check that all structures of the folder were evaluated, in order."""
    assert [int(line.split()[0]) for line in lines] == list(range(400))
    assert [line for line in lines if "as info said" in line] == [lines[30]]
    assert all(float(line.split()[1]) > 0 for line in lines[:30] + lines[31:])
    assert wait_until(lambda: not worker_pids(), within=30)  # Slurm's jobs take a moment to end


def test_executorlib(folder, variables):
    pytest.importorskip("executorlib")
    check(run(example("executorlib", {'"chgnet"': '"springs-slow"'}), folder, variables))


#: What happens after an iterator over results was closed early.
CLOSED_EARLY = """
    with {executor} as executor:
        results = rootstock.evaluate(structures * 20, "springs-slow", device="cpu", exact=True,
                                     executor=executor, progress=False)
        print(next(results).index)
        results.close()
        print(len(list(rootstock.evaluate(structures[:30], "springs", executor=executor,
                                          device="cpu", progress=False))))
"""
EXECUTORS = {
    "executorlib": "SingleNodeExecutor(max_workers=2, block_allocation=True)",
    "loky": "ProcessPoolExecutor(2)",
}


@pytest.mark.parametrize("library", EXECUTORS)
def test_closing_early_leaves_the_executor_usable(library, folder, variables):
    pytest.importorskip(library)
    code = (
        "import ase.io, rootstock\n"
        f"from {library} import {EXECUTORS[library].partition('(')[0]}\n"
        'if __name__ == "__main__":\n    structures = ase.io.read("structures.extxyz", ":")\n'
        + CLOSED_EARLY.format(executor=EXECUTORS[library])
    )
    assert run(code, folder, variables) == ["0", "30"]


LOCAL_PARSL = {
    **ELSEWHERE,
    "SlurmProvider(": "LocalProvider(init_blocks=1, max_blocks=1)\n    slurm = dict(",
    "import SlurmProvider": "import LocalProvider",
    "available_accelerators=4": 'available_accelerators=["4", "5"], address="127.0.0.1"',
}


def test_parsl_on_this_machine(folder, variables):
    pytest.importorskip("parsl")
    check(run(example("parsl", LOCAL_PARSL), folder, variables))


def test_parsl_on_slurm(folder, slurm_variables):
    pytest.importorskip("parsl")
    changes = {
        **ELSEWHERE,
        "nodes_per_block=2": "init_blocks=1, max_blocks=1",
        "--gres=gpu:4": "--gres=gpu:1",
        "available_accelerators=4": 'available_accelerators=2, address="127.0.0.1"',
    }
    check(run(example("parsl", changes), folder, slurm_variables))


JOBQUEUE = {**ELSEWHERE, "16GB": "1GB", "jobs=8": "jobs=2", "cores=1": 'cores=1, interface="lo"'}


def test_dask_on_slurm(folder, slurm_variables):
    pytest.importorskip("dask_jobqueue")
    check(run(example("dask", JOBQUEUE), folder, slurm_variables))


def test_dask_on_slurm_with_a_job_that_is_cancelled(folder, slurm_variables):
    """Two jobs at a time; after some results one of them is cancelled."""
    pytest.importorskip("dask_jobqueue")
    changes = {
        **JOBQUEUE,
        'job_extra_directives=["--gres=gpu:1"],': "",
        "executor=executor\n": "executor=executor, exact=True, max_in_flight=4\n",
        "            print(": """            if evaluation.index == 40:
                import subprocess
                subprocess.run(["scancel", next(iter(cluster.workers.values())).job_id], check=True)
            print(""",
    }  # fmt: skip
    check(run(example("dask", changes), folder, slurm_variables))


# --- the array ------------------------------------------------------------------------------------


def has_shards() -> bool:
    done = subprocess.run(
        [BIN / "rootstock", "evaluate", "--help"], capture_output=True, text=True, check=False
    )
    return "--shard" in done.stdout


@pytest.mark.skipif(not has_shards(), reason="this version has no --shard")
def test_an_array_of_jobs_two_of_which_are_requeued(folder, slurm_variables):
    """One task is asked to end, as at a time limit; another one is killed, as on a lost node."""
    images = [bulk("Cu", cubic=True, a=3.5 + 0.00005 * number) for number in range(4000)]
    write(folder / "structures.extxyz", images)
    changes = {
        "--array=1-16": "--array=1-4",
        "/16": "/4",
        "evaluate chgnet": "evaluate springs-slow --exact",
        "--device cuda": "--device cpu --threads 1",
        "#SBATCH --gres=gpu:1\n": "",
    }
    (folder / "array.sh").write_text(example("array", changes))
    variables = {**os.environ, **slurm_variables}
    job = output(["sbatch", "--parsable", "--chdir", folder, folder / "array.sh"], variables)
    assert job

    def store(number):
        return folder / f"results-{number}of4.db"

    for number, command in ((1, "scancel --signal=TERM {}.0"), (2, "scontrol requeue {}")):
        assert wait_until(lambda: store(number).exists(), within=60)  # noqa: B023  used at once
        task = output(
            ["squeue", "--noheader", "--format=%A", "--job", f"{job}_{number}"], variables
        )
        subprocess.run(command.format(task).split(), env=variables, check=True)
        assert wait_until(lambda: restarts(task, variables) == 1, within=60), (  # noqa: B023
            folder / f"rootstock-{number}.log"
        ).read_text()
    states = ["squeue", "--noheader", "--array", "--job", job]
    assert wait_until(lambda: not output(states, variables), within=400, pause=1.0)
    merged = subprocess.run(
        ["sh", "-c", "rootstock merge results.db results-*of4.db && rootstock results results.db"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    logs = "".join(path.read_text() for path in sorted(folder.glob("*.log")))
    assert merged.returncode == 0, merged.stderr + logs
    assert "4,000" in merged.stdout or "4000" in merged.stdout, merged.stdout + logs
    shutil.rmtree(folder)


def restarts(task: str, variables) -> int:
    shown = output(["scontrol", "show", "job", task], variables)
    return int(re.search(r"Restarts=(\d+)", shown)[1]) if shown else 0
