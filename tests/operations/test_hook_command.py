"""Hook commands: what they get, and that none of them does harm."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import is_gone, until

from runner.model import secrets
from runner.model.jobs import Event, Notify
from runner.model.notifications import Notification
from runner.model.secrets import keep_secret
from runner.operations import hook_command
from runner.operations.hook_command import run_hook

TEXT = b'{"run": 12}\n'


def run(
    script: str, *arguments: str | Path, text: bytes = TEXT, stop: Callable[[], bool] = lambda: False, **variables: str
) -> Notification:
    notify = Notify(Event.CHANGE, (sys.executable, "-c", script, *map(str, arguments)))
    return run_hook(notify, [text], variables, stop)[0]


def test_a_hook_gets_text_arguments_and_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_DAEMON", "kept")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    script = """
import json, os, sys
got = {
    "text": sys.stdin.read(), "arguments": sys.argv[2:], "directory": os.getcwd(), "environment": dict(os.environ),
    "leads": os.getpid() == os.getsid(0) == os.getpgid(0), "open": os.listdir("/proc/self/fd"),
}
print("x" * 1_000_000)
json.dump(got, open(sys.argv[1], "w"))
"""
    inherited = os.open(os.devnull, os.O_RDONLY)
    # What only happens to be inheritable is not handed on either.
    os.set_inheritable(inherited, True)  # noqa: FBT003  its only argument
    result = run(script, tmp_path / "got", "two words", "$HOME; *", RUNNER_EVENT="failure")
    os.close(inherited)
    assert (0, None) == (result.exit_code, result.message)
    got = json.loads((tmp_path / "got").read_text())
    assert (TEXT.decode(), ["two words", "$HOME; *"], "/", True) == tuple(
        got[key] for key in ("text", "arguments", "directory", "leads")
    )
    assert ("kept", "failure") == (got["environment"]["OF_THE_DAEMON"], got["environment"]["RUNNER_EVENT"])
    assert "NOTIFY_SOCKET" not in got["environment"]
    assert {"0", "1", "2", "3"} == set(got["open"])  # 3 is the listed directory


@pytest.mark.parametrize("program", ["/nowhere/at all", "no-such-program-anywhere", "/", "/etc/passwd", "a\0b"])
def test_a_hook_that_cannot_be_started_has_a_reason(program: str) -> None:
    result, error = run_hook(Notify(Event.CHANGE, (program,)), [TEXT], {}, lambda: False)
    assert error == result.message
    assert result.exit_code is None
    assert result.message is not None
    assert result.message.startswith("can't be started: ")
    assert "\n" not in result.message


def test_exit_code_and_end_of_stderr_are_kept() -> None:
    unread = run("import os; os.close(0)", text=b"x" * 10_000_000)
    assert (0, None) == (unread.exit_code, unread.message)
    result = run("import sys; sys.stderr.write('first' + 'x' * 5000 + 'last\\0\\n'); sys.stderr.flush(); sys.exit(3)")
    assert 3 == result.exit_code
    assert result.message is not None
    assert "first" not in result.message
    assert result.message.endswith("xlast\\0")
    killed = run("import os; os.kill(os.getpid(), 9)")
    assert (-signal.SIGKILL, "killed by SIGKILL") == (killed.exit_code, killed.message)


# It starts a child that ignores SIGTERM like itself, writes both numbers, and hangs.
HANGING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child}")
    os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    sys.stderr.write("still here\\n" * 100)
    sys.stderr.flush()
    time.sleep(0.001)
"""


@pytest.mark.parametrize("ended_by", ["time limit", "stop", "defect"])
def test_a_hanging_hook_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_by: str
) -> None:
    numbers = tmp_path / "numbers"

    def stop() -> bool:
        if ended_by == "defect" and numbers.exists():
            raise ZeroDivisionError
        return ended_by == "stop" and numbers.exists()

    monkeypatch.setattr(hook_command, "LIMIT_S", 1.0 if ended_by == "time limit" else 30.0)
    monkeypatch.setattr(hook_command, "_GRACE_S", 0.3)
    if ended_by == "defect":
        with pytest.raises(ZeroDivisionError):
            run(HANGING, numbers, stop=stop)
    else:
        result = run(HANGING, numbers, stop=stop)
        code, reason = {
            "time limit": (-signal.SIGKILL, "ended after its time limit of 1 s: "),
            "stop": (None, "ended because runner was stopped"),
        }[ended_by]
        assert code == result.exit_code
        assert result.message is not None
        assert result.message.startswith(reason)
        assert len(result.message) < 2_100
    pids = [int(number) for number in numbers.read_text().split()]
    until(lambda: all(map(is_gone, pids)), "the end of the group")


def test_a_hook_may_clean_up_at_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_command, "LIMIT_S", 1.0)
    script = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); time.sleep(60)"
    assert 7 == run(script).exit_code


def test_children_left_by_a_hook_continue_and_can_write(tmp_path: Path) -> None:
    script = """
import os, sys, time
if os.fork():
    sys.exit()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
sys.stderr.write("delivered, with a warning\\n")
sys.stderr.flush()
open(sys.argv[2], "w").close()
"""
    result = run(script, tmp_path / "go on", tmp_path / "delivered")
    assert (0, None) == (result.exit_code, result.message)
    (tmp_path / "go on").touch()
    until((tmp_path / "delivered").exists, "the delivery")


def test_a_hooks_output_does_not_fill_the_disk(tmp_path: Path) -> None:
    script = """
import os, sys, time
for _ in range(100):
    os.write(2, b"x" * 100_000)
end = time.monotonic() + 20
while os.fstat(2).st_size > 100_000 and time.monotonic() < end:
    time.sleep(0.001)
open(sys.argv[1], "w").write(str(os.fstat(2).st_size))
os.write(2, b"end")
"""
    result = run(script, tmp_path / "size")
    assert int((tmp_path / "size").read_text()) <= 100_000
    assert result.message is not None
    assert result.message.endswith("xend")


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("RUNNER_DB", "postgresql://me:sesame@host/db", False),
        ("RUNNER_DB", "postgresql://host/db?password=sesame", False),
        ("RUNNER_DB", "/var/lib/history.db", True),
        ("PGPASSWORD", "sesame", False),
        ("PGPASSFILE", "/home/me/.pgpass", False),
        ("PGSSLPASSWORD", "sesame", False),
        ("PGHOST", "host", True),
        ("DATABASE_URL", "postgresql://me:sesame@host/db", False),
        ("DATABASE_URL", "postgresql://host/db", True),
        ("BACKUP_OF", "see postgres:/me:sesame@host/db", False),
        ("DSN", "host=db user=me password = sesame", False),
        ("POSTGRES_PASSWORD", "sesame", False),
        ("DB_PASS", "sesame", False),
        ("MY_OWN", "the secret is open-sesame-1", False),
        ("SLACK_TOKEN", "sesame", True),
        ("OLDPWD", "/home/me", True),
    ],
)
def test_a_hook_gets_no_database_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, *, kept: bool
) -> None:
    monkeypatch.setattr(secrets, "_known", {})
    keep_secret("postgresql://me:open-sesame-1@host/db")
    monkeypatch.setenv(name, value)
    script = "import os, sys; open(sys.argv[1], 'w').write(os.environ.get(sys.argv[2], '-'))"
    assert 0 == run(script, tmp_path / "got", name).exit_code
    assert (value if kept else "-") == (tmp_path / "got").read_text()
