"""The daemon as those who watch it see it: its log and its metrics file, while things go well and badly."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import Daemon, Program, Record, thaw, until
from postgresql_server import PostgresqlServer, running_server
from prometheus_client.parser import text_string_to_metric_families

KEYS = ["at", "level", "message", "job", "run", "traceback"]
PASSWORD = "hu nt/er%2@ö"  # noqa: S105


def lines(daemon: Daemon) -> list[Record]:
    """Parse a log of JSON, in which there must be nothing else."""
    said = daemon.log.read_bytes()
    assert said.isascii()
    found = [json.loads(line) for line in said.split(b"\n")[:-1]]
    assert all(list(line) == KEYS for line in found)
    return found


def about(daemon: Daemon, run: int) -> list[str]:
    return [f"{line['job']}: {line['message']}" for line in lines(daemon) if line["run"] == run]


def metrics(path: Path) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


@contextmanager
def broken_daemon(program: Program, defect: str, *arguments: str | Path) -> Iterator[Daemon]:
    """Run a daemon in which something was changed before it began."""
    log = program.folder / "broken.log"
    script = f"import sys, threading, os\n{defect}\nfrom runner.cli.main import main\nmain()"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", script, "daemon", *arguments],
            cwd=program.folder, env=program.environment, stderr=stderr,
        )  # fmt: skip
    try:
        yield Daemon(process, log)
    finally:
        process.kill()
        process.wait()


def test_a_log_of_json_tells_job_and_run_of_every_line(program: Program, tree: Path) -> None:
    away = tree.with_name("away")
    program.out("schedule", tree, "--every", "1s", "--name", 'o"dd\\ ä')
    with program.daemon("--log-format", "json") as daemon:
        good = until(lambda: program.history("succeeded"), "a run")[0]["run"]
        trial = daemon.freeze_trial()
        until(lambda: program.history("skipped"), "a skipped firing")
        thaw(trial)
        tree.rename(away)
        failed = until(lambda: program.history("failed"), "a failed run")[0]["run"]
        until(lambda: about(daemon, failed), "its line")
        assert 0 == daemon.stop()
    for run, how in ((good, "succeeded in "), (failed, "failed in ")):
        (line,) = about(daemon, run)
        assert line.startswith(f'o"dd\\ ä: {how}')
    skipped = [line for line in lines(daemon) if "was skipped" in line["message"]]
    assert skipped
    assert {('o"dd\\ ä', None)} == {(line["job"], line["run"]) for line in skipped}
    assert {None} == {line["traceback"] for line in lines(daemon)}
    assert [None, "stopped"] == [lines(daemon)[-1][key] for key in ("job", "message")]


def test_a_log_of_text_tells_them_in_the_same_place_always(program: Program, tree: Path) -> None:
    settings = program.folder / "settings.toml"
    settings.write_text("log_format = 'json'\n")
    program.environment["RUNNER_SETTINGS"] = str(settings)
    program.out("schedule", tree, "--every", "1s")
    with program.daemon("--log-format", "text") as daemon:  # the flag wins
        run = until(lambda: program.history("succeeded"), "a run")[0]["run"]
        until(lambda: f" INFO docs run {run}: succeeded in " in daemon.said(), "its line")
    with program.daemon() as daemon:
        assert lines(daemon)


def test_what_is_logged_far_below_a_run_is_about_it_and_holds_no_password(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    defect = (
        "import runner.execution.executor as firing\n"
        "def fail(*_, **__): raise RuntimeError('no postgresql://me:hunter2@db/x\\nfor you')\n"
        "firing.choose_order = fail"
    )
    with broken_daemon(program, defect, "--log-format", "json") as daemon:
        (line,) = until(lambda: [line for line in lines(daemon) if line["traceback"]][:1], "the traceback")
        run = program.history("failed")[0]["run"]
        assert ["error", "docs", run] == [line[key] for key in ("level", "job", "run")]
        assert "RuntimeError: no postgresql://me:***@db/x\nfor you" in line["traceback"]
        assert 0 == daemon.stop()
    assert b"hunter2" not in daemon.log.read_bytes()


def test_a_daemon_that_can_not_run_says_so_in_json_too(program: Program) -> None:
    with program.daemon():
        second = program.call("daemon", "--log-format", "json")
    assert 1 == second.returncode
    (line,) = second.stderr.splitlines()
    said = json.loads(line)
    assert "critical" == said["level"]
    assert said["message"].startswith("a daemon is already running")


def test_a_thread_that_ends_by_a_defect_is_in_the_log(program: Program) -> None:
    defect = (
        "import runner.daemon.daemon as service\n"
        "def fail(*_): raise RuntimeError('password=hunter2')\n"
        "service.prune_daily = fail"
    )
    with broken_daemon(program, defect, "--log-format", "json") as daemon:
        (line,) = until(lambda: [line for line in lines(daemon) if line["traceback"]], "the traceback")
    assert "a defect in runner ended the thread retention" == line["message"]
    assert "password=***" in line["traceback"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """Give a server that can be stopped, with a role that has a password."""
    with running_server() as server:
        server.do(f"CREATE ROLE locked LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        yield server


def urls(server: PostgresqlServer, name: str, password: str) -> tuple[str, str]:
    return (
        server.url(name, f"locked:{quote(password, safe='')}"),
        f"{server.url(name, 'locked')}&password={quote(password, safe='')}",
    )


@pytest.mark.parametrize("form", [0, 1], ids=["in front", "as a parameter"])
def test_the_databases_password_is_in_no_line_while_its_server_is_gone(
    program: Program, tree: Path, server: PostgresqlServer, form: int
) -> None:
    # The server would be as content without, were it not told the right one.
    wrong = f"{PASSWORD} wrong"
    with server.fresh() as name:
        program.environment["RUNNER_DB"] = urls(server, name, PASSWORD)[form]
        program.out("schedule", tree, "--every", "1s")
        said = [program.call("daemon", "--db", urls(server, name, wrong)[form]).stderr.decode()]
        assert "password authentication failed" in said[0]
        with program.daemon("--log-format", "json") as daemon:
            until(lambda: program.history("succeeded"), "a run")
            server.stop()
            try:
                until(lambda: "can't be reached" in daemon.said(), "the daemon to notice")
                said += [program.call(*command).stderr.decode() for command in (["jobs"], ["daemon"])]
            finally:
                server.start()
            after = len(program.history())
            until(lambda: len(program.history()) > after, "it to go on")
            assert 0 == daemon.stop()
        said += [line["message"] + (line["traceback"] or "") for line in lines(daemon)]
    for secret in (PASSWORD, wrong):
        for spelling in (secret, quote(secret), quote(secret, safe=""), "hu nt", "nt/er", "hu%20nt"):
            assert spelling not in "\n".join(said)


def test_a_defect_of_a_command_is_logged_without_the_password(program: Program) -> None:
    program.environment |= {
        "RUNNER_DB": "postgresql://me:hu%6eter2@127.0.0.1:1/x",
        "XDG_STATE_HOME": str(program.folder),
    }
    script = (
        "import sys, runner.history.database as database\n"
        "def fail(text): raise RuntimeError(f'{text} is hunter2')\n"
        "database.locate = fail\n"
        "from runner.cli.main import main\nsys.argv = ['runner', 'jobs']\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=program.environment, capture_output=True, check=False, text=True
    )
    assert 3 == done.returncode
    logged = Path(done.stderr.strip().rpartition(" is in ")[2]).read_text()
    assert "RuntimeError: postgresql://me:***@127.0.0.1:1/x is ***" in logged
    assert "hunter2" not in logged + done.stderr


def test_an_unescaped_at_in_a_password_is_refused_before_it_is_taken_for_a_server(program: Program) -> None:
    done = program.quick("jobs", "--db", "postgresql://me:hun@ter2@db/x")
    assert (2, 1) == (done.returncode, done.stderr.count(b"\n"))
    assert b"%40" in done.stderr
    assert b"ter2" not in done.stderr


def test_the_metrics_file_follows_the_runs_and_the_daemons_life(program: Program, tree: Path) -> None:
    path = program.folder / "runner.prom"
    ended = "runner_runs_total", "docs"
    program.out("schedule", tree, "--every", "1s")
    with program.daemon("--metrics-file", path) as daemon:
        until(lambda: path.exists() and metrics(path)[*ended, "succeeded"] >= 2, "two runs to be counted")
        during = metrics(path)
        assert 0o644 == path.stat().st_mode & 0o777
        assert [7, 5] == [during["runner_files", "docs"], during["runner_directories", "docs"]]
        assert during["runner_next_fire_timestamp_seconds", "docs"] > during["runner_start_timestamp_seconds",]
        assert during["runner_lateness_seconds_count",] >= 1  # making up for a missed one is not late
        assert {"sequential", "pool"} == {key[2] for key in during if key[0] == "runner_last_run_duration_seconds"}
        assert 1 == during["runner_up",]
        program.out("edit", "docs", "--name", "renamed")
        until(lambda: ("runner_files", "renamed") in metrics(path), "the new name")
        assert ("runner_files", "docs") not in metrics(path)
        program.out("pause", "renamed")
        assert 0 == daemon.stop()
    after = metrics(path)
    assert 0 == after["runner_up",]
    last = after["runner_last_success_timestamp_seconds", "renamed"]
    path.unlink()

    settings = program.folder / "settings.toml"
    settings.write_text(f"metrics_file = '{path}'\n")
    program.environment["RUNNER_SETTINGS"] = str(settings)
    with program.daemon() as daemon:
        until(path.exists, "the file")
        anew = metrics(path)
        assert last == anew["runner_last_success_timestamp_seconds", "renamed"]
        assert 0 == anew["runner_runs_total", "renamed", "succeeded"]
        assert ("runner_next_fire_timestamp_seconds", "renamed") not in anew
        program.out("run", "renamed")
        until(lambda: metrics(path)["runner_runs_total", "renamed", "succeeded"] == 1, "the run by hand", 40)
        program.out("remove", "renamed")
        assert 0 == daemon.stop()
    assert not [key for key in metrics(path) if "renamed" in key]


def test_a_disk_that_hangs_holds_up_neither_firing_nor_stopping(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    defect = (
        "import runner.operations.metrics_writer as metrics\n"
        "metrics.replace_file = lambda *_, **__: (sys.stderr.write('hangs\\n'), threading.Event().wait())"
    )
    with broken_daemon(program, defect, "--metrics-file", "runner.prom") as daemon:
        until(lambda: "hangs" in daemon.said(), "the disk to hang")
        until(lambda: len(program.history("succeeded")) >= 2, "two runs")
        assert 0 == daemon.stop()


def test_a_folder_that_goes_is_told_once_and_comes_back(program: Program, tree: Path) -> None:
    folder = program.folder / "collected"
    folder.mkdir()
    path = folder / "runner.prom"
    program.out("schedule", tree, "--every", "1s")
    with program.daemon("--metrics-file", path) as daemon:
        until(path.exists, "the file")
        folder.rename(program.folder / "away")
        until(lambda: "can't be written: No such file" in daemon.said(), "the error")
        folder.mkdir()
        until(path.exists, "the file to be written again")
        until(lambda: "is written again" in daemon.said(), "the daemon to say so")
    assert ["runner.prom"] == os.listdir(folder)


@pytest.mark.parametrize("path", ["missing/runner.prom", ""])
def test_a_metrics_file_that_can_not_be_is_refused_at_the_start(program: Program, path: str) -> None:
    done = program.call("daemon", "--metrics-file", path)
    assert (2, 1) == (done.returncode, done.stderr.count(b"\n"))
    assert done.stderr.startswith(b"runner: the ")
