"""A private Slurm of one node, with its own munge, ports and a pretend GPU."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.ports import free_port
from tests.support.waiting import wait_until

#: What has to be installed (Debian: slurm-wlm, munge).
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=5
MailProg=/bin/true
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return the programs of Slurm that are not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@contextlib.contextmanager
def slurm(folder: Path):
    """Run a Slurm below a folder; yield its variables."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().partition(".")[0]
    settings = {
        "host": host,
        "user": subprocess.check_output(["id", "-un"], text=True).strip(),
        "port": free_port(),
        "node_port": free_port(),
        "folder": folder,
        "cpus": os.cpu_count(),
        "memory": int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20 * 0.8),
    }
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**settings))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/null\n")
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    variables = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
    try:
        _start(folder, variables)
        yield variables
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)


def _start(folder: Path, variables) -> None:
    options = {
        f"--{option}": folder / f"munge{suffix}"
        for option, suffix in {
            "key-file": ".key",
            "socket": ".sock",
            "log-file": "d.log",
            "pid-file": "d.pid",
            "seed-file": ".seed",
        }.items()
    }
    command = ["munged", "--force", *(f"{name}={path}" for name, path in options.items())]
    subprocess.run(command, env=variables, check=True)
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([daemon, "-f", folder / "slurm.conf"], env=variables, check=True)
    sinfo = ["sinfo", "-h", "-o", "%T"]
    assert wait_until(lambda: output(sinfo, variables) == "idle", within=30.0, pause=0.25), (
        folder / "slurmctld.log"
    ).read_text()[-3000:]


def output(command, variables) -> str:
    """Return what a command prints; empty if it fails."""
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    return done.stdout.strip()
