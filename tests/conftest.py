"""What every test stands on: nothing of the user's within reach, and the real program as its users start it."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from postgresql_server import PostgresqlServer, running_server

from runner.cli.main import main
from runner.history.database import Database, locate
from runner.history.jobs import get_job
from runner.history.runs import list_runs
from runner.history.upgrade import open_database
from runner.measure.leftovers import remove_leftovers
from runner.model.runs import Status
from runner.output.records import run_record

# As from a terminal, even where a shell has started the tests in the background, and ignores it for what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["web_harness"]

T = TypeVar("T")
Record = dict[str, Any]
MakePlace = Callable[[], AbstractContextManager[str | Path]]


@pytest.fixture(autouse=True)
def _the_current_folder_stays() -> Iterator[None]:
    """Come back from wherever a scan within the test's own process has ended."""
    current = os.open(".", os.O_RDONLY)
    yield
    os.fchdir(current)
    os.close(current)


def home_environment(home: Path) -> dict[str, str]:
    """Return the variables that lead every default path into a directory."""
    directories = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    return {"HOME": str(home), **directories}


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_users_within_reach(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lead every default path into a scratch folder; processes started by tests inherit it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home_environment(home).items():
            patch.setenv(name, value)
        for name in ("RUNNER_DB", "RUNNER_SETTINGS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        patch.setenv("COLUMNS", "120")
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_in_temporary_directories(_nothing_of_the_users_within_reach: None) -> Iterator[None]:
    """Lead temporary files into a short directory, and fail if trial processes leave something there or in memory.

    What killed runners left is removed as their users' next start does it.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="rt-", dir="/tmp") as directory:
        patch.setenv("TMPDIR", directory)
        patch.setattr(tempfile, "tempdir", directory)
        yield
        remove_leftovers()
        left = [name for name in os.listdir(directory) if re.match(r"pymp-|runner-\d+-", name)]
        semaphores = Path("/dev/shm")  # noqa: S108
        left += [path.name for path in semaphores.glob(f"sem.runner-{os.getpid()}-*")]
        assert [] == left


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """Return a PostgreSQL server that has a database ``kept`` with the newest schema, to be copied."""
    with running_server() as server:
        server.do("CREATE DATABASE kept TEMPLATE template0")
        open_database(locate(server.url("kept"))).close()
        yield server


@pytest.fixture(scope="session")
def empty_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with an empty history, to be copied."""
    path = tmp_path_factory.mktemp("template") / "history.db"
    open_database(locate(str(path))).close()
    return path


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def make_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MakePlace:
    """Return what makes a place with an empty history, of each kind of database."""

    @contextmanager
    def copy() -> Iterator[str]:
        with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as scratch:
            yield shutil.copy(request.getfixturevalue("empty_history"), scratch)

    @contextmanager
    def make() -> Iterator[str]:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        with server.fresh("kept") as name:
            yield server.url(name)

    return copy if request.param == "sqlite" else make


@pytest.fixture
def place(make_place: MakePlace) -> Iterator[str]:
    """Return a place with an empty history: a path or a URL."""
    with make_place() as place:
        yield str(place)


@pytest.fixture
def database(place: str) -> Iterator[Database]:
    """Return an empty history, of each kind of database."""
    with closing(open_database(locate(place))) as database:
        yield database


@pytest.fixture
def history(empty_history: Path, tmp_path: Path) -> Iterator[Database]:
    """Return an empty history in a file, for what is the same whatever kind of database it is."""
    with closing(open_database(locate(str(shutil.copy(empty_history, tmp_path / "runner.db"))))) as database:
        yield database


def until(ask: Callable[[], T | None], what: str, within_s: float = 20.0, pause_s: float = 0.01) -> T:
    """Ask until the answer is yes, and give it; fail when it does not come in time."""
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s} s: {what}")
        time.sleep(pause_s)
    return answer


@dataclass
class Program:
    """The real program, started from a scratch folder with a database of its own.

    Attributes:
        folder: Where it is started.
        environment: What it is started with; RUNNER_DB names the database.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return Path(self.environment["RUNNER_DB"])

    def call(self, *arguments: str | bytes | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        command: list[str | bytes | Path] = [sys.executable, "-m", "runner", *arguments]
        given: Any = {"cwd": self.folder, "env": self.environment, "timeout": 60, "stdin": subprocess.DEVNULL}
        given |= dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | options
        return subprocess.run(command, check=False, text=False, **given)

    def quick(self, *arguments: str | bytes | Path) -> subprocess.CompletedProcess[bytes]:
        """Run a command as :meth:`call` does, but in this process, which spares a second of imports."""
        written = io.BytesIO(), io.BytesIO()
        out, err = (io.TextIOWrapper(stream, "utf-8") for stream in written)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["runner", *map(os.fsdecode, arguments)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(os, "environ", dict(self.environment))
            patch.chdir(self.folder)
            with pytest.raises(SystemExit) as ended:
                main()
            out.flush()
            err.flush()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code, *(stream.getvalue() for stream in written))

    def out(self, *arguments: str | bytes | Path) -> str:
        """Run a command that must succeed, quickly; gives what it wrote to stdout."""
        done = self.quick(*arguments)
        assert 0 == done.returncode, done.stderr.decode()
        return done.stdout.decode()

    def json(self, *arguments: str | bytes | Path) -> Any:
        """Run a command that must succeed, with ``--format json``."""
        return json.loads(self.out(*arguments, "--format", "json"))

    def refused(self, *arguments: str | bytes | Path, code: int = 2) -> str:
        """Run a command that must be refused in one line, which it returns."""
        done = self.quick(*arguments)
        assert (code, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n")), (arguments, done.stderr)
        assert done.stderr.startswith(b"runner: ")
        return done.stderr.decode()

    def start(self, *arguments: str | bytes | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "runner", *arguments], cwd=self.folder, env=self.environment, **options
        )

    def history(self, *statuses: str, job: str | None = None) -> list[Record]:
        """Return the runs, oldest first, as ``runner history`` does but from this process, many times a second."""
        with self.opened() as database:
            known = get_job(database, job) if job is not None else None
            runs = list_runs(database, job=known, statuses=[Status(status) for status in statuses])
        return [run_record(run) for run in reversed(runs)]

    def opened(self) -> AbstractContextManager[Database]:
        """Open its database, for as long as it is entered."""
        return closing(open_database(locate(self.environment["RUNNER_DB"])))

    @contextmanager
    def daemon(self, *arguments: str | bytes | Path) -> "Iterator[Daemon]":
        """Run the daemon meanwhile, and leave no process of it behind."""
        log = self.folder / f"daemon-{time.monotonic_ns()}.log"
        hung = False
        with log.open("wb") as stderr:
            daemon = Daemon(self.start("daemon", *arguments, stderr=stderr, stdout=subprocess.DEVNULL), log)
        try:
            until(lambda: "started:" in daemon.said() or daemon.process.poll() is not None, "the daemon's start")
            yield daemon
        finally:
            if daemon.process.poll() is None:
                daemon.process.send_signal(signal.SIGTERM)
                try:
                    daemon.process.wait(20)
                except subprocess.TimeoutExpired:
                    hung = True
                    daemon.process.kill()
                    daemon.process.wait()
        assert not hung, "SIGTERM did not end the daemon"
        assert "Traceback" not in daemon.said()


@dataclass
class Daemon:
    """A daemon that a test has started."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it by a signal; gives its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def freeze_trial(self) -> psutil.Process:
        """Wait for a trial and stop it, so that its run goes on until it is continued."""
        return freeze_trial(self.process.pid)


@dataclass
class Changed(Program):
    """The program with something in it changed before it begins, and with a program before it on the command line."""

    change: str = "pass"
    prefix: tuple[str, ...] = ()

    def start(self, *arguments: str | bytes | Path, **options: Any) -> subprocess.Popen[bytes]:
        begin = f"{self.change}\nfrom runner.__main__ import main; main()"
        command = [*self.prefix, sys.executable, "-c", begin, *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **options)


def changed(program: Program, change: str = "pass", prefix: tuple[str, ...] = ()) -> Changed:
    """Return a program with something in it changed."""
    return Changed(program.folder, program.environment, change, prefix)


def as_nobody_special(program: Program, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a user whom permissions bind; root is made one by giving up its power over them."""
    prefix = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root can't give up its power over permissions here")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    return subprocess.run(
        [*prefix, sys.executable, "-m", "runner", *arguments],
        cwd=program.folder, env=program.environment, capture_output=True, check=False,
    )  # fmt: skip


def freeze_trial(pid: int) -> psutil.Process:
    """Wait for a trial of a process and stop it with its workers."""

    def frozen() -> psutil.Process | None:
        for child_pid in _children(pid):
            try:
                child = psutil.Process(child_pid)
                if child.status() == psutil.STATUS_ZOMBIE or os.getpgid(child.pid) != child.pid:
                    continue  # a pool's own, or not yet its own session
                os.killpg(child.pid, signal.SIGSTOP)
                arrived = time.monotonic() + 1
                while (
                    child.status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE} and time.monotonic() < arrived
                ):
                    time.sleep(0.001)
                if child.status() == psutil.STATUS_STOPPED and _is_at_work(child.pid):
                    return child
                os.killpg(child.pid, signal.SIGCONT)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        return None

    return until(frozen, f"a trial of {pid}", pause_s=0.001)


def _children(pid: int) -> list[int]:
    """Return the children of a process; Linux lists them so fast that no trial ends before it is seen."""
    if not sys.platform.startswith("linux"):
        return [child.pid for child in psutil.Process(pid).children()]
    children: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # that thread has ended
            children += map(int, file.read_text().split())
    return children


def _is_at_work(trial: int) -> bool:
    """Return whether a trial has asked the kernel to end it with its parent, and has not begun to report."""
    process = Path(f"/proc/{trial}")
    if not process.exists():
        return True  # not Linux
    follows = bool(int((process / "fdinfo/0").read_text().split()[3], 8) & os.O_ASYNC)
    return follows and "wchar: 0\n" in (process / "io").read_text()


def enlarge(tree: Path, folders: int = 4_000) -> Path:
    """Add so many folders that a trial can be caught at work; gives the tree."""
    for number in range(folders):
        (tree / f"empty-{number}").mkdir(exist_ok=True)
    return tree


def thaw(trial: psutil.Process) -> None:
    """Resume a frozen trial."""
    os.killpg(trial.pid, signal.SIGCONT)


def family(pid: int) -> list[psutil.Process]:
    """Return the processes that descend from one."""
    return psutil.Process(pid).children(recursive=True)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; an orphan is a zombie until init has collected it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def gone(processes: list[psutil.Process]) -> bool:
    """Return whether none of them runs any more."""
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return the real program with an empty database of its own."""
    return Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": str(tmp_path / "runner.db")})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a small tree: seven markdown files among others, in five folders."""
    root = tmp_path / "docs"
    for number in range(4):
        folder = root / f"part-{number}"
        folder.mkdir(parents=True)
        (folder / "a.md").write_text(f"{number}\n")
        (folder / "b.txt").write_text("no markdown\n")
        if number:
            (folder / "b.md").write_text(f"two of {number}\n")
    return root


def find_markdown(root: Path | bytes) -> list[bytes]:
    """Ask find, the oracle, for the absolute paths of the markdown files."""
    found = subprocess.run(
        ["find", root, "!", "-type", "d", "-name", "*.md", "-print0"], capture_output=True, check=True
    )
    return sorted(filter(None, found.stdout.split(b"\0")))
