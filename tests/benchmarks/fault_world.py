"""What faults happen to: the real program over trees that change, all of it in one scratch folder.

Every process carries a mark in its environment, so that none can survive unseen. Where the kernel lets it, the scratch
folder has mounts that nobody else sees and that go when this process ends.
"""

import gc
import importlib
import io
import json
import os
import pkgutil
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout, suppress
from pathlib import Path
from random import Random
from typing import Any

import runner.cli
import runner.execution
import runner.history
import runner.jobs
import runner.operations
import runner.output
from runner.cli.main import main as run_command
from tests.benchmarks import fault_system as system
from tests.benchmarks.fault_checks import Hang, Wrong, check, wait_for
from tests.benchmarks.fault_trees import JOBS, Trees

_MARK = "RUNNER_FAULTS"
# Enough for the history and for the temporary files, and filled at once.
_DISK, _TEMPORARY_DISK = "size=128m,nr_inodes=200", "size=16m,nr_inodes=100"
_SHARED_MEMORY, _TEMPORARY = Path("/dev/shm"), Path("/var/tmp")  # noqa: S108  they get file systems of their own
# What may be beside the database.
_BESIDE = {"", "-wal", "-shm", ".runs.lock", ".daemon.lock"}
# Unless a job says otherwise, no execution takes so long if nothing is wrong with it.
_TIMEOUT = "2s"
# SIGTERM leaves a run five seconds; the rest is for a busy machine.
_END_S = 25.0

START_METHODS = ("fork", "spawn", "forkserver")


class World:
    """A database, four jobs over a tree each, and at most one daemon."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.folder = Path(tempfile.mkdtemp(prefix="runner-faults-"))
        self.mounts = system.own_mounts()
        self.kept = self.folder / "kept"
        self.trees = Trees(self.folder, random, mounts=self.mounts)
        self.database = self.kept / "runner.db"
        self.metrics = self.kept / "runner.prom"
        self.caches = self.kept / "caches"
        # A short path: fork servers have their sockets there.
        self.temporary = _TEMPORARY if self.mounts else self.folder / "temporary"
        self.start_method = START_METHODS[0]
        self.mark = uuid.uuid4().hex
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "XDG_"))},
            "HOME": str(self.folder),
            "RUNNER_DB": str(self.database),
            "TMPDIR": str(self.temporary),
            "XDG_CACHE_HOME": str(self.caches),
            "COLUMNS": "200",
            _MARK: self.mark,
        }
        self._prefix = []
        setpriv = shutil.which("setpriv")
        if setpriv is not None:
            # Whatever becomes of this process, no daemon outlives it; and permissions bind root as anybody else.
            self._prefix = [setpriv, "--pdeathsig=KILL"]
            if os.geteuid() == 0:
                self._prefix.append("--bounding-set=-dac_override,-dac_read_search")
        self.obeys_permissions = os.geteuid() != 0 or bool(self._prefix)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.by_hand: list[subprocess.Popen[bytes]] = []
        self.printed: list[dict[str, Any]] = []
        self.log = self.folder / "daemon.log"

    # What is there.

    def set_up(self) -> None:
        """Write the trees and register the jobs."""
        disks = {self.folder: "mode=0700", self.kept: _DISK, self.temporary: _TEMPORARY_DISK, _SHARED_MEMORY: "rw"}
        for disk, options in disks.items() if self.mounts else ():
            disk.mkdir(exist_ok=True)
            system.mount("--types", "tmpfs", "--options", options, "tmpfs", disk)
        self.kept.mkdir(exist_ok=True)
        self.temporary.mkdir(exist_ok=True)
        (self.folder / ".config" / "runner").mkdir(parents=True)
        self.choose(self.start_method)
        _import_everything(self.database)
        self.trees.plant()
        for job in JOBS:
            every = ["--every", f"{job.every_s}s", "--timeout", _TIMEOUT]
            self.must("schedule", str(self.trees.root(job.name)), *every, *job.choices)

    # What is asked.

    def ask(self, *arguments: str, within_s: float = 40) -> tuple[int, bytes, str]:
        """Run a command to its end; returns its exit code, its output and its messages."""
        return _run_in_fork(self.environment, arguments, within_s)

    def must(self, *arguments: str) -> bytes:
        """Run a command that has to succeed."""
        code, out, messages = self.ask(*arguments)
        if code != 0:
            raise RuntimeError(f"runner {' '.join(arguments)} ended with {code}: {messages}")
        return out

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, without runner."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()

    def is_running(self, job: str) -> bool:
        """Return whether a run of a job is going on."""
        query = "SELECT count(*) FROM run_history WHERE status = 'running' AND job = ?"
        return self.rows(query, job) != [(0,)]

    # What runs.

    def choose(self, start_method: str) -> None:
        """Choose how workers are started from now on."""
        self.start_method = start_method
        lines = f'start_method = "{start_method}"\nmetrics_file = "{self.metrics}"\n'
        (self.folder / ".config" / "runner" / "settings.toml").write_text(lines)
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGHUP)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "runner", *arguments],
            env=self.environment,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )

    def ensure_daemon(self) -> None:
        """Start a daemon unless one is alive; one that ended by itself must have failed, or none would restart it."""
        if self.daemon is not None and self.daemon.poll() is None:
            return
        gone, self.daemon = self.daemon, None
        code, said = self.start_daemon()
        if code is not None:
            raise Hang(f"the daemon ended with {code} instead of starting: {said!r}")
        if gone is not None and gone.returncode != 1:
            raise Wrong("exit codes", f"the daemon has ended by itself with {gone.returncode}")

    def start_daemon(self) -> tuple[int | None, str]:
        """Start a daemon; returns its exit code, None if it goes on, and what it has logged."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            daemon = self.daemon = self.start("daemon", stdout=subprocess.DEVNULL, stderr=log)
        wait_for(lambda: daemon.poll() is not None or "started:" in self.logged(before), "the daemon's start", 40)
        code = daemon.returncode
        if code is not None:
            self.daemon = None
        return code, self.logged(before)

    def logged(self, since: int) -> str:
        """Return what daemons have logged from an offset on."""
        return self.log.read_bytes()[since:].decode(errors="replace") if self.log.exists() else ""

    def pid(self) -> int:
        assert self.daemon is not None
        return self.daemon.pid

    def kill_daemon(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None

    def end_daemon(self) -> None:
        """Stop the daemon by SIGTERM, after which it has to end well."""
        if self.daemon is not None:
            daemon, self.daemon = self.daemon, None
            daemon.terminate()
            self.by_hand.append(daemon)
            code, _ = self.heard(daemon, _END_S)
            check("the daemon after SIGTERM", (0,), code, "")

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that is waited for by :meth:`heard`."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.by_hand.append(process)
        return process

    def run_by_hand(self, job: str) -> subprocess.Popen[bytes]:
        """Start a manual run that is waited for by :meth:`heard`."""
        return self.begin("run", job, "--format", "json")

    def heard(self, process: subprocess.Popen[bytes], within_s: float = 40) -> tuple[int, str]:
        """Wait for a command and remember the run that it has printed; returns its exit code and its messages."""
        try:
            out, messages = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Hang(f"{process.args!r} did not end") from None
        finally:
            self.by_hand.remove(process)
        with suppress(ValueError):  # it has not come to print
            self.printed.append(json.loads(out or b""))
        return process.returncode, (messages or b"").decode(errors="replace")

    def owned(self) -> set[int]:
        """Find the processes that may be there: the daemon, manual runs, and their descendants."""
        owners = [self.daemon, *self.by_hand]
        found = {process.pid for process in owners if process is not None and process.poll() is None}
        return found.union(*map(system.descendants, found))

    def leftovers(self) -> set[Path]:
        """Find files that no process should leave: temporary ones, semaphores, what was not put in its place."""
        expected = {*(self.database.with_name(self.database.name + end) for end in _BESIDE), self.metrics, self.caches}
        found = {*self.temporary.iterdir(), *self.kept.iterdir()} - expected
        found |= {path for path in self.caches.rglob("*") if path.is_file() and not path.name[-1].isdigit()}
        for _, _, variables in self._living():
            used = (each.removeprefix(b"TMPDIR=") for each in variables if each.startswith(b"TMPDIR="))
            found -= {Path(os.fsdecode(path)) for path in used}  # of trial processes at work
        return found | set(_SHARED_MEMORY.iterdir()) if self.mounts else found

    def defects(self) -> set[Path]:
        """Find the tracebacks that commands have left."""
        return set((self.folder / ".local").rglob("defect-*"))

    def marked(self) -> set[tuple[int, str]]:
        """Find every living process with the mark, and when each was started."""
        return {(pid, began) for pid, began, _ in self._living()}

    def _living(self) -> Iterator[tuple[int, str, list[bytes]]]:
        """Yield every living process with the mark: its number, its start and its environment."""
        mark = f"{_MARK}={self.mark}".encode()
        for folder in Path("/proc").glob("[1-9]*"):
            with suppress(OSError):  # it has ended, or is somebody else's
                variables = (folder / "environ").read_bytes().split(b"\0")
                if mark in variables:
                    fields = system.stat_fields(int(folder.name))
                    if fields[0] not in "ZX":
                        yield int(folder.name), fields[19], variables

    @contextmanager
    def ended_at_last(self) -> Iterator[None]:
        """Remove everything in the end: processes, mounts, the scratch directory."""
        try:
            yield
        finally:
            while left := self.marked():
                for pid, _ in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
            for process in (self.daemon, *self.by_hand):
                if process is not None:
                    process.wait()
            if self.mounts:
                system.unmount(self.folder)
            else:
                subprocess.run(["chmod", "-R", "u+rwx", self.folder], check=False)
            shutil.rmtree(self.folder, ignore_errors=True)


def _import_everything(database: Path) -> None:
    """Import what commands import when they are carried out, so that forks of this process need not."""
    for package in (runner.cli, runner.history, runner.jobs, runner.execution, runner.operations, runner.output):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("sqlalchemy.dialects.sqlite")
    sys.argv = ["runner", "db", "path", "--db", str(database)]  # which touches nothing
    with redirect_stdout(io.StringIO()), suppress(SystemExit):
        run_command()
    gc.collect()
    gc.freeze()


def _run_in_fork(environment: Mapping[str, str], arguments: tuple[str, ...], within_s: float) -> tuple[int, bytes, str]:
    """Run a command in a fork of this process; return its exit code, its output and its messages."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as messages:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _become(environment, arguments, out.fileno(), messages.fileno())

        def ended() -> tuple[int, int] | None:
            done, status = os.waitpid(pid, os.WNOHANG)
            return (done, status) if done else None

        try:
            _, status = wait_for(ended, f"the end of {' '.join(arguments)}", within_s, 0.001)
        except Hang:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        out.seek(0)
        messages.seek(0)
        return os.waitstatus_to_exitcode(status), out.read(), messages.read().decode(errors="replace")


def _become(environment: Mapping[str, str], arguments: tuple[str, ...], out: int, messages: int) -> None:
    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(messages, 2)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None  # this process has its own
        sys.argv = ["runner", *arguments]
        run_command()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 71
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
