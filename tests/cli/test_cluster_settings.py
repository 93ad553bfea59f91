"""What users meet of the strategy dask: settings, refusals, and nothing at all without the extra."""

import json
import subprocess
import sys

import pytest
from conftest import Program

from runner.strategies import dask

SCHEDULER = "dask_scheduler must be 'local', 'tcp://HOST:PORT' or 'tls://HOST:PORT'"


@pytest.mark.parametrize("command", [["schedule", ".", "--every", "1h"], ["calibrate", "."]])
def test_without_the_extra_the_strategy_is_refused(
    program: Program, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr(dask, "find_spec", lambda _name: None)
    assert "pip install 'runner[dask]'" in program.refused(*command, "--strategy", "dask")


def test_a_job_of_a_runner_with_the_extra_fails_in_one_line(program: Program) -> None:
    (program.folder / "tree").mkdir()
    program.out("schedule", "tree", "--every", "1h", "--strategy", "dask")
    # The trial process imports the engine from where the packages of its runner are.
    script = (
        "import sys; from runner.strategies import base; init = base.Cluster.__init__\n"
        "def without(self, scheduler='local', **files): init(self, scheduler, **files); self.engine_path = []\n"
        "base.Cluster.__init__ = without\n"
        "from runner.__main__ import main; sys.argv = ['runner', 'run', 'tree']; main()"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=program.folder, env=program.environment, capture_output=True, check=False)
    assert 1 == done.returncode
    assert b"dask: the strategy dask needs an extra; `pip install 'runner[dask]'` installs it" in done.stdout
    [run] = program.json("history")
    assert ("failed", None) == (run["status"], run["files"])


@pytest.mark.parametrize("words", [["--help"], ["schedule", "--help"], ["calibrate", "--help"], ["run", "--help"]])
def test_help_does_not_mention_it(program: Program, words: list[str]) -> None:
    assert "dask" not in program.out(*words).lower()


def test_nothing_imports_the_engine(program: Program) -> None:
    (program.folder / "tree").mkdir()
    script = (
        "import json, sys; from runner.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: json.dump([name for name in sys.modules if name in ('dask', 'distributed')], sys.stderr)"
    )
    for words in (["run", "tree"], ["history"], ["explain", "tree"]):
        command = [sys.executable, "-c", script, *words]
        done = subprocess.run(command, cwd=program.folder, env=program.environment, capture_output=True, check=False)
        assert [] == json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("dask_scheduler = 'scheduler:8786'", "dask_scheduler"),
        ("dask_scheduler = 'tcp://scheduler'", "dask_scheduler"),
        ("dask_scheduler = 'tls://scheduler:8786'\ndask_tls_ca = 'ca.pem'", "needs dask_tls_cert"),
    ],
)
def test_wrong_settings_are_refused(program: Program, text: str, error: str) -> None:
    (program.folder / "settings.toml").write_text(text)
    program.environment["RUNNER_SETTINGS"] = "settings.toml"
    assert error in program.refused("jobs")


def test_a_dead_scheduler_fails_the_run_and_saves_nothing(program: Program) -> None:
    (program.folder / "tree").mkdir()
    (program.folder / "tree/a.md").touch()
    (program.folder / "settings.toml").write_text("dask_scheduler = 'tcp://127.0.0.1:9'")
    program.environment["RUNNER_SETTINGS"] = "settings.toml"
    program.out("schedule", "tree", "--every", "1h", "--strategy", "dask")
    assert 1 == program.quick("run", "tree").returncode
    [run] = program.json("history")
    assert ("failed", None) == (run["status"], run["files"])
    assert "tcp://127.0.0.1:9 can't be reached: Connection refused; start it" in run["message"]
    assert run["wall_s"] < 2
    assert "dask (the workers of its cluster)" in program.out("explain", "tree")
