"""A reader follows the page about clusters: a scheduler, two workers and a job, and then a worker dies."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import Program
from test_documented_commands import list_blocks

from tests.benchmarks.dask_cluster import wait_until

PAGE = Path(__file__).parents[2] / "docs/cluster.md"


def test_a_cluster_by_hand_runs_a_job(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    blocks = list_blocks(PAGE)
    program.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program.environment["RUNNER_SETTINGS"] = "settings.toml"
    [settings] = [text for _, title, text in blocks if title == "settings.toml"]
    (program.folder / "settings.toml").write_text(settings.replace("8786", port))
    lines = [line for language, _, text in blocks if language == "sh" for line in text.splitlines()]
    [scheduler] = [line for line in lines if line.startswith("dask scheduler --host")]
    [worker] = [line for line in lines if line.startswith("dask worker tcp:")]
    [(name, value)] = re.findall(r"^export (DASK\w+)=(\w+)$", "\n".join(lines), re.MULTILINE)
    program.environment[name] = value
    commands = [line for line in lines if re.match("runner (schedule|run|history|show) ", line)]
    program.out("sample", "directories")
    log = program.folder / "log"
    started = []
    try:
        for line in (scheduler, worker, worker):
            with log.open("ab") as output:
                started.append(_start(program, line.replace("8786", port), output))
        wait_until(lambda: log.read_text().count("Starting worker compute stream") == 2)
        for line in commands:
            program.out(*shlex.split(line)[1:])
        started[1].kill()
        started[1].wait()
        wait_until(lambda: "Remove worker addr" in log.read_text())
        program.out("run", "wide")
    finally:
        for process in started:
            process.kill()
            process.wait()

    runs = json.loads(program.out("history", "wide", "--format", "json"))
    assert ["succeeded", "succeeded"] == [run["status"] for run in runs]
    dask = [execution for run in runs for execution in run["executions"] if execution["strategy"] == "dask"]
    assert [1, 2] == [execution["workers"] for execution in dask]
    assert [3, 3] == [len(run["executions"]) for run in runs]
    assert "dask" in program.out("show", "2")
    assert "dask" in program.out("trends", "wide")
    program.out("report", "--output", "report.html")
    assert "dask" in (program.folder / "report.html").read_text()
    assert "wide,manual,succeeded" in re.sub(",/[^,]*", "", program.out("history", "wide", "--format", "csv"))


def _start(program: Program, line: str, output: Any) -> subprocess.Popen[bytes]:
    where: Any = {"cwd": program.folder, "env": program.environment, "stdout": output, "stderr": output}
    return subprocess.Popen(shlex.split(line), **where)
