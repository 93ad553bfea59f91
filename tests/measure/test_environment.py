import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

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
    program = (
        "from runner.measure.environment import describe_process\n"
        "me = describe_process(); print(me.pid, me.started_s, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        pid, started_s = other.stdout.readline().split()
        owner = replace(describe_process(), pid=int(pid), started_s=float(started_s))
        assert is_alive(owner)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(owner)
    assert not is_alive(owner)


def test_a_process_of_another_start_or_boot_is_not_alive() -> None:
    owner = describe_process()
    assert os.getpid() == owner.pid
    assert [True, False, False] == [
        is_alive(each)
        for each in (owner, replace(owner, started_s=owner.started_s - 100), replace(owner, boot="another"))
    ]


def test_a_process_on_another_machine_is_taken_to_live() -> None:
    assert is_alive(replace(describe_process(), host="elsewhere", boot="another", pid=2**22 + 1))


def test_a_renamed_machine_knows_its_processes() -> None:
    owner = replace(describe_process(), host="called something else")
    assert is_alive(owner)
    assert not is_alive(replace(owner, pid=2**22 + 1))


def test_processes_of_other_containers_are_not_confused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = replace(describe_process(), host="another container")
    numbers = tmp_path / "pid"
    numbers.symlink_to("pid:[1]")
    monkeypatch.setattr(environment, "_NUMBERS", numbers)
    assert is_alive(replace(owner, pid=2**22 + 1)), "it can't be looked for from here"


def test_processes_of_another_container_are_out_of_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = describe_process()
    numbers = tmp_path / "pid"
    numbers.symlink_to("pid:[1]")
    monkeypatch.setattr(environment, "_NUMBERS", numbers)
    assert is_out_of_sight(owner)
    assert is_alive(replace(owner, pid=2**22 + 1)), "the name of the machine says nothing about it"
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
        bound = [
            "setpriv",
            "--regid=nogroup",
            "--clear-groups",
            "--bounding-set=-sys_ptrace,-kill",
            sys.executable,
            "-c",
            IS_ALIVE,
        ]
        asked = [json.dumps(asdict(one)) for one in (owner, replace(owner, pid=2**22 + 1))]
        said = subprocess.run([*mounts, *bound, *asked], capture_output=True, check=False)
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
