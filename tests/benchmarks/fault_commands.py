"""Commands carried out in forks of this process, which spares their imports."""

import gc
import importlib
import io
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path

import runner.cli
import runner.execution
import runner.history
import runner.jobs
import runner.operations
import runner.output
from runner.cli.main import main as run_command
from tests.benchmarks.fault_checks import Hang, wait_for


def import_everything(database: Path) -> None:
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


def run_in_fork(environment: Mapping[str, str], arguments: tuple[str, ...], within_s: float) -> tuple[int, bytes, str]:
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
