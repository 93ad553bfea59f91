"""What faults happen to: the real program over trees that change, all of it in one scratch folder.

Every process carries a mark in its environment, so that none can survive unseen. Where the kernel lets it, the scratch
folder has mounts that nobody else sees and that go when this process ends.
"""

import ctypes
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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import runner.cli
import runner.history
import runner.render
import runner.runs
from runner.cli.main import main as command_line

T = TypeVar("T")

_MARK = "RUNNER_FAULTS"
# From <sched.h> and <sys/mount.h>.
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MS_BIND, _MNT_DETACH = 0x20000, 0x4000, 0x40000, 0x1000, 2
# Enough for the history, and filled at once.
_DISK = b"size=128m"
# Unless a job says otherwise, no execution takes so long if nothing is wrong with it.
_TIMEOUT = "2s"


class Hang(Exception):
    """Something that has to happen did not happen in time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """A job under test.

    Attributes:
        name: Its name.
        every_s: Its interval.
        choices: Further flags.
    """

    name: str
    every_s: int
    choices: tuple[str, ...]


JOBS = (
    Watched(name="often", every_s=1, choices=("--workers", "2")),
    Watched(name="other", every_s=2, choices=("--strategy", "sequential", "--catchup", "none")),
    Watched(name="large", every_s=2, choices=("--strategy", "pool", "--workers", "2", "--timeout", "6s")),
    Watched(name="known", every_s=1, choices=("-s", "sequential", "-s", "incremental", "--catchup", "all")),
)


def wait_for(ask: Callable[[], T | None], what: str, within_s: float, pause_s: float = 0.005) -> T:
    """Ask until the answer is yes, and give it.

    Raises:
        Hang: If it does not come in time.
    """
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise Hang(f"not within {within_s:g} s: {what}")
        time.sleep(pause_s)
    return answer


class World:
    """A database, four jobs over a tree each, and at most one daemon.

    Args:
        random: Where chance comes from.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.folder = Path(tempfile.mkdtemp(prefix="runner-faults-"))
        self.kept = self.folder / "kept"
        self.mounts = False
        self.database = self.kept / "runner.db"
        self.mark = uuid.uuid4().hex
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "XDG_"))},
            "HOME": str(self.folder),
            "RUNNER_DB": str(self.database),
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
        self.mounts = _own_mounts()
        if self.mounts:
            _libc().mount(b"tmpfs", bytes(self.folder), b"tmpfs", 0, None)
        self.kept.mkdir()
        if self.mounts:
            _libc().mount(b"tmpfs", bytes(self.kept), b"tmpfs", 0, _DISK)
        self._import_everything()
        self._plant()

    def root(self, job: str) -> Path:
        """Give the tree of a job; it can be a mount."""
        return self.folder / "trees" / job

    def _plant(self) -> None:
        for job in JOBS:
            source = self.folder / "sources" / job.name
            large = job.name == "large"
            for number in range(40 if large else 12):
                folder = source / f"part-{number}"
                folder.mkdir(parents=True)
                for file in range(60 if large else 3):
                    # Names so long that what a worker gives back does not fit into a pipe.
                    (folder / (f"{file}-{'long' * 25}.md" if large else f"{file}.md")).write_text(f"{file}\n")
                for below in range(40 if large else 20):
                    (folder / f"below-{below}").mkdir()
            self.root(job.name).parent.mkdir(exist_ok=True)
            if self.mounts:
                self.root(job.name).mkdir()
                self.mount(job.name)
            else:
                source.rename(self.root(job.name))
        for job in JOBS:
            every = ["--every", f"{job.every_s}s", "--timeout", _TIMEOUT]
            self.must("schedule", str(self.root(job.name)), *every, *job.choices)

    def _import_everything(self) -> None:
        """Import what commands import when they are carried out, so that forks of this process need not."""
        for package in (runner.cli, runner.history, runner.render, runner.runs):
            for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
                importlib.import_module(module.name)
        importlib.import_module("sqlalchemy.dialects.sqlite")
        sys.argv = ["runner", "db", "path", "--db", str(self.database)]  # which touches nothing
        with redirect_stdout(io.StringIO()), suppress(SystemExit):
            command_line()
        gc.collect()
        gc.freeze()

    def mount(self, job: str) -> None:
        """Mount the tree of a job where it belongs."""
        _libc().mount(bytes(self.folder / "sources" / job), bytes(self.root(job)), None, _MS_BIND, None)

    def unmount(self, job: str) -> None:
        """Take the tree of a job away, even from under those who read it."""
        _libc().umount2(bytes(self.root(job)), _MNT_DETACH)

    def change(self, job: str, count: int = 1) -> None:
        """Change so many things in the tree of a job."""
        root = self.root(job)
        parts = sorted(path for path in root.iterdir() if path.is_dir())
        for _ in range(count):
            folder = self.random.choice(parts)
            match self.random.randrange(5):
                case 0 | 1:
                    (folder / f"new-{self.random.randrange(10**6)}.md").write_text("new\n")
                case 2:
                    self._some_file(folder).write_text("x" * self.random.randrange(999))
                case 3:
                    self._some_file(folder).unlink(missing_ok=True)
                case _:
                    below = folder / f"below-{self.random.randrange(20)}"
                    with suppress(OSError):  # it was moved before
                        below.rename(folder / f"moved-{self.random.randrange(10**6)}")

    def _some_file(self, folder: Path) -> Path:
        files = sorted(folder.glob("*.md"))
        return self.random.choice(files) if files else folder / "only.md"

    # What is asked.

    def ask(self, *arguments: str, within_s: float = 30) -> tuple[int, bytes]:
        """Run a command to its end in a fork of this process, which spares its imports; gives its code and stdout.

        Raises:
            Hang: If it does not end.
        """
        with tempfile.TemporaryFile() as out:
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                self._become(arguments, out.fileno())
            ended = self._collect(pid, " ".join(arguments), within_s)
            out.seek(0)
            return os.waitstatus_to_exitcode(ended), out.read()

    def _become(self, arguments: tuple[str, ...], out: int) -> None:
        code = 70
        try:
            os.dup2(out, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.environ.clear()
            os.environ.update(self.environment)
            sys.argv = ["runner", *arguments]
            command_line()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 71
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(code)

    def _collect(self, pid: int, what: str, within_s: float) -> int:
        def collected() -> tuple[int, int] | None:
            done, status = os.waitpid(pid, os.WNOHANG)
            return (done, status) if done else None

        try:
            return wait_for(collected, f"the end of {what}", within_s, 0.001)[1]
        except Hang:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def must(self, *arguments: str) -> bytes:
        """Run a command that has to succeed."""
        code, out = self.ask(*arguments)
        if code != 0:
            raise RuntimeError(f"runner {' '.join(arguments)} ended with {code}")
        return out

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()

    def is_running(self, job: str) -> bool:
        """Tell whether a run of a job is going on."""
        query = "SELECT count(*) FROM run_history WHERE status = 'running' AND job = ?"
        return self.rows(query, job) != [(0,)]

    # What runs.

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command."""
        return subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "runner", *arguments],
            env=self.environment,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )

    def ensure_daemon(self) -> None:
        """Start a daemon unless one is alive.

        Raises:
            Hang: If it does not start.
        """
        if self.daemon is not None and self.daemon.poll() is None:
            return
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            daemon = self.daemon = self.start("daemon", stdout=subprocess.DEVNULL, stderr=log)

        def started() -> bool:
            with self.log.open("rb") as log:
                log.seek(before)
                return b"started:" in log.read() or daemon.poll() is not None

        wait_for(started, "the daemon's start", 40)
        if daemon.poll() is not None:
            raise Hang(f"the daemon ended with {daemon.returncode} instead of starting")

    def pid(self) -> int:
        """Give the daemon's number."""
        assert self.daemon is not None
        return self.daemon.pid

    def kill_daemon(self) -> None:
        """End the daemon at once."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGKILL)
            self.daemon.wait()

    def run_by_hand(self, job: str) -> subprocess.Popen[bytes]:
        """Start a manual run whose result is read by :meth:`heard`."""
        process = self.start("run", job, "--format", "json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.by_hand.append(process)
        return process

    def heard(self, process: subprocess.Popen[bytes], within_s: float = 40) -> int:
        """Wait for a manual run and remember what it has printed; gives its exit code.

        Raises:
            Hang: If it does not end.
        """
        try:
            out, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Hang("a manual run did not end") from None
        finally:
            self.by_hand.remove(process)
        with suppress(ValueError):  # it has not come to print
            self.printed.append(json.loads(out))
        return process.returncode

    def owned(self) -> set[int]:
        """Give the processes that may be there: the daemon, manual runs, and what descends from them."""
        owners = [self.daemon, *self.by_hand]
        found = {process.pid for process in owners if process is not None and process.poll() is None}
        waiting = list(found)
        while waiting:
            below = children(waiting.pop())
            found.update(below)
            waiting += below
        return found

    def marked(self) -> set[tuple[int, str]]:
        """Give every process that carries the mark and lives, each with when it was started."""
        mark = f"{_MARK}={self.mark}".encode()
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):  # it has ended, or is somebody else's
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        state = _stat(int(folder.name))
                        if state[0] not in "ZX":
                            found.add((int(folder.name), state[19]))
        return found

    @contextmanager
    def ended_at_last(self) -> Iterator[None]:
        """Leave nothing behind: no process, no mount, no folder."""
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
                _libc().umount2(bytes(self.folder), _MNT_DETACH)
            else:
                subprocess.run(["chmod", "-R", "u+rwx", self.folder], check=False)
            shutil.rmtree(self.folder, ignore_errors=True)


def children(pid: int) -> list[int]:
    """Give the numbers of a process's children, whichever thread has started them."""
    found = []
    with suppress(OSError):  # it may end between one look and the next
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(word) for word in tasks.read_text(encoding="ascii").split()]
    return found


def trials(pid: int) -> list[int]:
    """Give the trials of a process: children that lead a session and have begun their work."""
    found = []
    for child in children(pid):
        with suppress(OSError, ValueError):
            if os.getsid(child) == child and b"runner.measure.trial" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def system_call(pid: int) -> int | None:
    """Tell in which system call a process waits; None if it does not wait."""
    try:
        word = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()[0]
    except (OSError, IndexError):
        return None
    return int(word) if word.isdigit() else None


def state_of(pid: int) -> str:
    """Tell the state of a process by its letter; empty if there is none."""
    try:
        return _stat(pid)[0]
    except OSError:
        return ""


def parent_of(pid: int) -> int | None:
    """Tell the parent of a process; None if there is no such process."""
    try:
        return int(_stat(pid)[1])
    except OSError:
        return None


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _own_mounts() -> bool:
    """Give this process mounts of its own; tells whether it may."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    return bool(
        _libc().unshare(_CLONE_NEWNS) == 0 and _libc().mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
    )
