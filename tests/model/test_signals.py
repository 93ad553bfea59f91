import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.model import signals
from runner.model.signals import is_known_stopped


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """Give a child that has a child of its own, whose number it tells, and both of which wait."""
    program = (
        "import ctypes, os, signal\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    ctypes.CDLL(None).prctl(15, b'a) S 1 (b', 0, 0, 0)  # PR_SET_NAME\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as process:
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass


@pytest.mark.timeout(20)
@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="only Linux tells it of processes that are no children"
)
def test_whoever_is_stopped_is_known_to_be_so_until_continued(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    for pid in (process.pid, grandchild := int(process.stdout.readline())):
        assert not is_known_stopped(pid)
        for _ in range(3):
            os.kill(pid, signal.SIGSTOP)
            until(lambda pid=pid: is_known_stopped(pid))  # type: ignore[misc]
            os.kill(pid, signal.SIGCONT)
            until(lambda pid=pid: not is_known_stopped(pid))  # type: ignore[misc]
    os.kill(grandchild, signal.SIGSTOP)
    until(lambda: is_known_stopped(grandchild))
    assert not is_known_stopped(process.pid)


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "waitid"), reason="nothing tells it here")
def test_a_stopped_child_is_known_to_be_so_without_the_kernels_files(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    process.stdout.readline()
    assert not signals._is_stopped_child(process.pid)
    process.send_signal(signal.SIGSTOP)
    until(lambda: signals._is_stopped_child(process.pid))
    process.send_signal(signal.SIGCONT)
    until(lambda: not signals._is_stopped_child(process.pid))


def test_nobody_is_not_stopped() -> None:
    assert not is_known_stopped(2**22 + 1)
