"""A SLURM of one machine's own, made of the real daemons, for tests.

It needs neither systemd nor cgroups nor a database, keeps everything in one directory, chooses free ports, and runs as
root or as an ordinary user. Its nodes are several ``slurmd`` told apart by port, their GPUs are pretended: SLURM counts
them and sets CUDA_VISIBLE_DEVICES. Debian and Ubuntu have all it takes::

    apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
    python tests/slurm/cluster.py up DIRECTORY && . DIRECTORY/env.sh     # sinfo, sbatch, snakemake --executor slurm
    python tests/slurm/cluster.py down DIRECTORY
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
#: Daemons are installed where an ordinary user's PATH does not look.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/log/slurmctld.log
SlurmdLogFile={directory}/log/slurmd.%n.log
# Nothing is measured or confined, since that would take cgroups, and nothing is kept, since that would take a database.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={directory}/log/completed.txt
MpiDefault=none
# A node that was lost is used again once it answers.
SlurmdTimeout=60
ReturnToService=2
KillWait=2
# Without a database squeue alone tells how a job ended, so ended jobs stay listed.
MinJobAge=600
# Jobs are scheduled at once.
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Jobs of partition `urgent` take the place of those of `main`, which wait in the queue again.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# The nodes have what is written here, whatever the machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=UNLIMITED State=UP PriorityTier=2 PreemptMode=OFF
"""

# Snakemake's jobstep executor drops SLURM_CONF before it calls srun, which then looks in /etc/slurm alone.
_SRUN = """\
#!/bin/sh
SLURM_CONF={configuration} exec {srun} "$@"
"""


@dataclass(frozen=True)
class Job:
    """A line of squeue: ``rule`` is what Snakemake says the job is, its wildcards included."""

    id: str
    state: str
    node: str
    rule: str


def missing_binaries() -> list[str]:
    """Programs without which there is no cluster."""
    return [name for name in BINARIES if not shutil.which(name, path=_PATH)]


class Cluster:
    """A cluster that lives in ``directory``; its path must be short, since it holds a socket (108 characters)."""

    def __init__(self, directory: Path, nodes: int = 2, cpus: int = 2, gpus: int = 1) -> None:
        self.directory = directory.resolve()
        self.nodes = [f"node{number + 1}" for number in range(nodes)]
        self.cpus, self.gpus = cpus, gpus
        self.configuration = self.directory / "slurm.conf"

    def start(self) -> None:
        """Start the daemons and wait until every node takes jobs; raises RuntimeError with the logs' ends."""
        if missing := missing_binaries():
            raise RuntimeError(f"no SLURM here: {', '.join(missing)} are missing")
        self._write()
        try:
            self._command(
                *("munged", "--force", "--num-threads=2", f"--key-file={self.directory}/munge.key"),
                *(f"--seed-file={self.directory}/munge.seed", f"--log-file={self.directory}/log/munged.log"),
                *(f"--socket={self.directory}/munge.socket", f"--pid-file={self.directory}/munged.pid"),
            )
            self._command("slurmctld", "-i")
            for node in self.nodes:
                self.add(node)
            self.wait(lambda: set(self.states().values()) == {"IDLE"} and len(self.states()) == len(self.nodes), 60)
        except Exception:
            self.stop()
            raise

    def stop(self) -> None:
        """End the daemons and every process of a job, and wait for them."""
        for node in self.nodes:
            self.lose(node)
        _end(self._daemons("slurmctld.pid"), signal.SIGTERM)
        _end(self._daemons("munged.pid"), signal.SIGTERM)

    def add(self, node: str) -> None:
        """Start a node, for the first time or after :meth:`lose`."""
        self._command("slurmd", "-N", node)

    def lose(self, node: str) -> None:
        """End a node as a power cut does: its daemon and everything that its jobs started, with no last word."""
        _end(self._daemons(f"slurmd.{node}.pid"), signal.SIGKILL)
        _end(self._processes(node), signal.SIGKILL)

    def configure(self, **values: int | str) -> None:
        """Change entries of slurm.conf while the cluster runs."""
        text = self.configuration.read_text()
        for key, value in values.items():
            text, count = re.subn(rf"(?m)^{key}=.*$", f"{key}={value}", text)
            if count != 1:
                raise ValueError(f"{self.configuration} has {count} lines with {key}")
        self.configuration.write_text(text)
        self._command("scontrol", "reconfigure")

    def runs(self, job: Job, text: str) -> bool:
        """Whether a process of ``job`` has ``text`` in its command line."""
        mark = f"SLURM_JOB_ID={job.id}"
        return any(text in _command_line(pid) and mark in _environment(pid) for pid in self._processes(job.node))

    def environment(self) -> dict[str, str]:
        """Variables with which SLURM's programs find this cluster."""
        return {"SLURM_CONF": str(self.configuration), "PATH": f"{self.directory}/bin{os.pathsep}{_PATH}"}

    def jobs(self, *states: str) -> list[Job]:
        """Jobs in any of ``states``, the ended ones included unless states are given."""
        listed = self._command("squeue", "-h", "--states=all", "--format=%i|%T|%N|%k")
        found = [Job(*line.split("|", 3)) for line in listed.splitlines()]
        return [job for job in found if not states or job.state in states]

    def states(self) -> dict[str, str]:
        """State of every node that the controller knows, as ``IDLE``, ``MIXED``, ``DOWN*``."""
        listed = self._command("sinfo", "-h", "-N", "--partition=main", "--format=%N|%T")
        return {node: state.upper() for node, state in (line.split("|") for line in listed.splitlines())}

    def call(self, *command: str) -> str:
        """Run one of SLURM's programs and return its standard output; raises RuntimeError."""
        return self._command(*command)

    def wait(self, condition: Callable[[], object], seconds: float) -> None:
        """Wait until ``condition`` holds; raises RuntimeError with what the daemons last said."""
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > ends:
                raise RuntimeError(f"not within {seconds} s: {self.jobs()}, {self.states()}\n{self._last_words()}")
            time.sleep(0.1)

    def _write(self) -> None:
        for name in ("bin", "log", "spool", "state"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        key = self.directory / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        ports = _free_ports(1 + len(self.nodes))
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={self.cpus} RealMemory=1000000 Gres=gpu:{self.gpus}"
            for node, port in zip(self.nodes, ports[1:], strict=True)
        ]
        self.configuration.write_text(
            _CONFIGURATION.format(
                host=host, ports=ports, user=getpass.getuser(), directory=self.directory, nodes="\n".join(nodes)
            )
        )
        # Any device file will do.
        gpus = [f"NodeName={node} Name=gpu Count={self.gpus} File=/dev/null" for node in self.nodes]
        (self.directory / "gres.conf").write_text("\n".join(gpus) + "\n")
        # Before, slurmd does without by itself.
        version = self._command("slurmd", "-V").split()[-1]
        if tuple(map(int, version.split(".")[:2])) >= (23, 11):
            (self.directory / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        srun = self.directory / "bin" / "srun"
        srun.write_text(_SRUN.format(configuration=self.configuration, srun=shutil.which("srun", path=_PATH)))
        srun.chmod(0o755)
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in self.environment().items()]
        (self.directory / "env.sh").write_text("".join(exports))

    def _command(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=os.environ | self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}\n{self._last_words()}")
        return done.stdout

    def _last_words(self) -> str:
        logs = sorted((self.directory / "log").glob("*.log"))
        return "\n".join(f"{log}:\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def _daemons(self, name: str) -> list[int]:
        """The process that a file names, unless it ended and its number now means another one."""
        try:
            pid = int((self.directory / name).read_text())
        except (FileNotFoundError, ValueError):
            return []
        return [pid] if _command_line(pid).split("/")[-1].startswith(name.split(".")[0]) else []

    def _processes(self, node: str) -> list[int]:
        """The job steps' daemons on a node and what they started, parents first."""
        environment = {f"SLURM_CONF={self.configuration}", f"SLURMD_NODENAME={node}"}
        jobs = [pid for pid in _pids() if environment <= _environment(pid)]
        steps = {pid for job in jobs for pid in _ancestors(job) if _command_line(pid).startswith("slurmstepd: ")}
        return [*steps, *jobs]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:  # it ended, or is somebody else's
        return ""


def _command_line(pid: int) -> str:
    return _read(pid, "cmdline").replace("\0", " ")


def _environment(pid: int) -> set[str]:
    return set(_read(pid, "environ").split("\0"))


def _ancestors(pid: int) -> Iterable[int]:
    while pid > 1 and (status := _read(pid, "status")):
        pid = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
        yield pid


def _alive(pid: int) -> bool:
    """Whether a process runs; a zombie has ended."""
    status = _read(pid, "status")
    return bool(status) and "\nState:\tZ" not in status


def _end(pids: list[int], with_signal: signal.Signals, seconds: float = 10) -> None:
    """Send a signal to processes and wait until they are gone, at last without asking."""
    for which in (with_signal, signal.SIGKILL):
        for pid in filter(_alive, pids):
            try:
                os.kill(pid, which)
            except ProcessLookupError:
                continue
        ends = time.monotonic() + seconds
        while any(map(_alive, pids)) and time.monotonic() < ends:
            time.sleep(0.05)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="of each node")
    parser.add_argument("--gpus", type=int, default=1, help="pretended ones of each node")
    args = parser.parse_args()
    cluster = Cluster(args.directory, args.nodes, args.cpus, args.gpus)
    if args.action == "up":
        cluster.start()
        print(f". {shlex.quote(str(cluster.directory / 'env.sh'))}")
    else:
        cluster.stop()


if __name__ == "__main__":
    main()
