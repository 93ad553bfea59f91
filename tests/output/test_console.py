import fcntl
import io
import os
import struct
import subprocess
import sys
import termios

import pytest
from render_examples import FAILED, MISSED, NOW, RUN

from runner.output.console import make_console
from runner.output.tables import runs_table


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_pipe_tables_are_as_wide_as_asked_and_messages_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_console().print(runs_table([RUN, MISSED, FAILED], now=NOW))
    out = capsys.readouterr().out
    assert str(FAILED.message) in out
    assert not {"\x1b", "…"} & set(out)
    monkeypatch.setenv("COLUMNS", "80")
    make_console().print(runs_table([RUN, MISSED, FAILED], now=NOW))
    make_console(stderr=True).print("word " * 40)
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    assert 1 == err.count("\n")


def test_a_terminal_gets_colour_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured, plain = FakeTerminal(), FakeTerminal()
    monkeypatch.setattr(sys, "stdout", coloured)
    make_console().print(runs_table([FAILED], now=NOW))
    monkeypatch.setattr(sys, "stdout", plain)
    monkeypatch.setenv("NO_COLOR", "1")
    make_console().print(runs_table([FAILED], now=NOW))
    assert "\x1b[1;31mfailed" in coloured.getvalue()
    assert "31m" not in plain.getvalue()


def test_the_width_is_the_terminals() -> None:
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 93, 0, 0))
    code = "from runner.output.console import make_console; make_console().print(make_console().width)"
    subprocess.run([sys.executable, "-c", code], stdin=follower, stdout=follower, stderr=follower, check=True)
    assert os.read(leader, 100).split() == [b"93"]
    os.close(leader)
    os.close(follower)


def test_messages_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    make_console(stderr=True).print("[b]:smile: 12[/b]")
    assert capsys.readouterr() == ("", "[b]:smile: 12[/b]\n")


def test_a_name_beyond_the_locale_is_shown_by_its_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    make_console().print("café 🦊")
    assert raw.getvalue() == rb"caf\xe9 \U0001f98a" + b"\n"
