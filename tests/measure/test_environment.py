import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.measure import environment
from runner.measure.environment import describe_environment, describe_process, is_alive, is_out_of_sight, usable_cpus


def test_an_environment_says_what_a_timing_depends_on() -> None:
    described = describe_environment(b"/dev/shm", workers=3, start_method="spawn")
    assert socket.gethostname() == described.host
    assert f"Linux {platform.release()}" == described.system
    assert (platform.machine(), f"CPython {platform.python_version()}") == (described.machine, described.python)
    assert (3, "spawn", "tmpfs") == (described.workers, described.start_method, described.filesystem)
    assert described == describe_environment(b"/dev/shm", workers=3, start_method="spawn")


def test_only_the_processors_that_this_process_may_use_count() -> None:
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert 1 == usable_cpus()
    finally:
        os.sched_setaffinity(0, mine)
    assert len(mine) == usable_cpus()


def test_a_process_is_alive_until_it_has_ended_even_uncollected() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        owner = replace(describe_process(), pid=other.pid, started_s=started_s(other.pid))
        assert is_alive(owner)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(owner)
    assert not is_alive(owner)


@pytest.mark.parametrize(
    ("differing", "alive"),
    [
        ({}, True),
        ({"pid": 2**22 + 1}, False),
        ({"started_s": 1.0}, False),
        ({"boot": "another"}, False),
        ({"boot": "1700000000"}, False),
        ({"host": "a former name"}, True),
        ({"host": "a former name", "pid": 2**22 + 1}, False),
        ({"host": "elsewhere", "boot": "another", "pid": 2**22 + 1}, True),
    ],
)
def test_only_this_start_on_this_boot_is_alive(differing: dict[str, Any], *, alive: bool) -> None:
    owner = replace(describe_process(), **differing)
    assert (alive, False) == (is_alive(owner), is_out_of_sight(owner))


def test_processes_of_another_container_are_out_of_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = describe_process()
    numbers = tmp_path / "pid"
    numbers.symlink_to("pid:[1]")
    monkeypatch.setattr(environment, "_NUMBERS", numbers)
    for host in (owner.host, "another container"):
        other = replace(owner, host=host, pid=2**22 + 1)
        assert (True, True) == (is_alive(other), is_out_of_sight(other))
    assert not is_out_of_sight(describe_process())
    for boot in ("an earlier one", "an earlier one pid:[1]", "1700000000"):
        assert not is_out_of_sight(replace(owner, boot=boot))
        assert not is_alive(replace(owner, boot=boot))


@pytest.mark.parametrize("account", ["root", "nobody"])
def test_a_hidden_process_counts_as_alive(account: str) -> None:
    tools = shutil.which("unshare"), shutil.which("setpriv")
    mounts = ["unshare", "--mount", "sh", "-ec", 'mount -t proc -o hidepid=invisible proc /proc; exec "$@"', "sh"]
    if None in tools or os.geteuid() != 0 or subprocess.run([*mounts, "true"], check=False).returncode:
        pytest.skip("processes can't be hidden here")
    with subprocess.Popen(["setpriv", f"--reuid={account}", "cat"], stdin=subprocess.PIPE) as other:
        owner = replace(describe_process(), pid=other.pid, started_s=started_s(other.pid))
        # Of no group for which nothing is hidden, and without the right to look at any process or send it a signal.
        bound = ["setpriv", "--regid=nogroup", "--clear-groups", "--bounding-set=-sys_ptrace,-kill"]
        asked = [json.dumps(asdict(one)) for one in (owner, replace(owner, pid=2**22 + 1))]
        said = subprocess.run(
            [*mounts, *bound, sys.executable, "-c", IS_ALIVE, *asked], capture_output=True, check=False
        )
        assert other.stdin is not None
        other.stdin.close()
    assert (b"False [True, False]\n", b"") == (said.stdout, said.stderr)


# Whether a process is shown, and whether each of those that are given is alive.
IS_ALIVE = """
import json, pathlib, sys
from runner.measure.environment import is_alive
from runner.model.runs import Owner
owners = [Owner(**json.loads(text)) for text in sys.argv[1:]]
print(pathlib.Path(f"/proc/{owners[0].pid}").exists(), [is_alive(owner) for owner in owners])
"""


def started_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def test_boot_times_distinguish_boots_without_an_identifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_BOOT_ID", tmp_path / "none")
    owner = describe_process()
    assert owner.boot.isdigit()
    assert is_alive(owner)


def test_setting_the_clock_makes_no_process_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot's time of day, from which the usual start of a process is counted, moves with the clock."""
    owner = describe_process()
    moved = psutil.Process().create_time() + 86_400
    monkeypatch.setattr(psutil.Process, "create_time", lambda _process: moved)
    assert is_alive(owner)
    assert owner == describe_process()
