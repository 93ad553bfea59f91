"""Units that systemd reads as they are meant; its own programs are the oracle, where they are installed."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.model.errors import UsageError
from runner.operations.service_files import Service
from runner.operations.systemd import exec_start, quoted, systemd_unit

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian package systemd)"
)
# systemd.syntax(7), table 1, as far as one character follows the backslash.
ESCAPES = dict(zip("abfnrtv\\\"'s", "\a\b\f\n\r\t\v\\\"' ", strict=True))
# On a machine under load, the alphabets take their time.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Anything a path or a URL may hold, undecodable bytes included, and often what means something to systemd.
WORDS = st.lists(
    st.one_of(
        st.sampled_from([*" '\"\\%$;#{}:@-+!|=\t\n\x01\x7f", "\udce9", "\u202e", "ü", "$$", "%%", "\\x41", "${HOME}"]),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=30,
).map("".join)  # fmt: skip


def read_words(line: str) -> list[bytes]:
    """Read a line by the rules of systemd.syntax(7), "Quoting", and of specifiers, where only ``%%`` is allowed."""
    words: list[bytes] = []
    rest = line
    while rest := rest.lstrip(" \t\n\r"):
        quote = rest[0] if rest[0] in "\"'" else ""
        rest, word, ended = rest[len(quote) :], b"", False
        while rest and not ended:
            one, rest = rest[0], rest[1:]
            if (quote and one == quote) or (not quote and one in " \t\n\r"):
                ended = True
            elif one == "\\" and rest[0] == "x":
                word, rest = word + bytes.fromhex(rest[1:3]), rest[3:]
            elif one == "\\":
                word, rest = word + ESCAPES[rest[0]].encode(), rest[1:]
            elif one == "%":
                assert rest[0] == "%"
                word, rest = word + b"%", rest[1:]
            else:
                assert quote or one not in "\"'"
                word += one.encode()
        assert ended or not quote
        assert not (quote and rest) or rest[0] in " \t"
        words.append(word)
    return words


def read_command(line: str) -> list[bytes]:
    """Read ``ExecStart=`` as systemd.service(5) has it: a ``:`` in front switches the substitution of ``$`` off."""
    first, *others = read_words(line)
    if first.startswith(b":"):
        return [first[1:], *others]
    assert all(b"$" not in word for word in (first, *others))
    assert first.startswith(b"/")
    assert b";" not in line.encode().split()
    return [first, *others]


def verify(directory: str | Path, unit: bytes, *, user: bool) -> subprocess.CompletedProcess[bytes]:
    """Verify a unit by systemd."""
    path = Path(directory, "runner.service")
    path.write_bytes(unit)
    command = ["systemd-analyze", "--user" if user else "--system", "verify", path]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
    return subprocess.run(command, capture_output=True, check=False, env=environment)


def make_service(*command: str, account: str | None = None, server: bool = False, **environment: str) -> Service:
    return Service(
        command=command or (sys.executable, "-P", "-m", "runner", "daemon"),
        environment=environment,
        account=account,
        home=Path("/home/me"),
        server=server,
    )


@PATIENT
@given(st.lists(WORDS, min_size=1, max_size=3))
def test_quoted_words_are_read_unchanged(words: list[str]) -> None:
    line = " ".join(map(quoted, words))
    assert line.isprintable()
    assert list(map(os.fsencode, words)) == read_words(line)


@PATIENT
@given(WORDS, st.lists(WORDS, max_size=2))
def test_a_command_is_read_unchanged(path: str, arguments: list[str]) -> None:
    command = [f"/{path}", *arguments]
    read = read_command(exec_start(command))
    if read[0] == b"/bin/sh":
        assert [b"-c", b'exec "$0" "$@"'] == read[1:3]
        read = read[3:]
    else:  # systemd takes no others
        assert not set(b"'\"\\\x7f") & set(read[0])
        assert min(read[0]) >= 0x20
    assert list(map(os.fsencode, command)) == read


@needs_systemd
@settings(PATIENT, max_examples=25)
@example(" \\x41 %h %% $HOME ${HOME} ;\t\udce9\u202eü\"'\\")
@given(WORDS.map(lambda word: word.replace("\n", "").replace("\r", "")))
def test_systemd_reads_a_word_unchanged(word: str) -> None:
    program = f"/'{word}'"  # systemd names what it does not find, or does not like, in the path of a program
    with tempfile.TemporaryDirectory() as directory:
        read = verify(directory, f"[Service]\nExecStart={quoted(program)}\n".encode(), user=False)
    assert os.fsencode(program) in read.stderr


@pytest.mark.parametrize("name", ["plain", "a b", "100%h", "$HOME ${x}", "it's", 'q"q', "b\\x41", "n\nl", "ü\u202e"])
def test_a_program_is_found_under_any_name(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    program = directory / "runner"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$0" "$@"\n')
    program.chmod(0o755)
    command = [str(program), "daemon", "--db", f"/{name}"]
    said = subprocess.run(read_command(exec_start(command)), capture_output=True, check=True).stdout
    assert list(map(os.fsencode, command)) == said.split(b"\0")[:-1]
    if shutil.which("systemd-analyze"):
        for account in (None, "root"):
            done = verify(tmp_path, systemd_unit(make_service(*command, account=account)), user=account is None)
            assert (0, b"") == (done.returncode, done.stderr)


@needs_systemd
@pytest.mark.parametrize("account", [None, "root"], ids=["user", "system"])
@pytest.mark.parametrize("server", [False, True], ids=["file", "server"])
def test_systemd_verifies_a_unit(tmp_path: Path, *, account: str | None, server: bool) -> None:
    odd = "/a b/100%h \\ 'q' \"Q\" $HOME"
    unit = systemd_unit(make_service(account=account, server=server, RUNNER_SETTINGS=odd))
    done = verify(tmp_path, unit, user=account is None)
    assert (0, b"") == (done.returncode, done.stderr)
    broken = verify(tmp_path, unit.replace(b"KillMode=mixed", b"KillMode=most"), user=account is None)
    assert b"most" in broken.stderr


ALWAYS = {"Type=notify", "NotifyAccess=main", "KillMode=mixed", "TimeoutStopSec=60", "Restart=on-failure"}
HIDING = ("PrivateTmp", "ProtectHome", "PrivateDevices", "InaccessiblePaths", "ProtectKernelModules")


@pytest.mark.parametrize(
    ("account", "server", "present", "absent"),
    [
        (None, False, {"WantedBy=default.target", "RestartPreventExitStatus=2"}, ("User", "Protect")),
        ("me", False, {"WantedBy=multi-user.target", "User=me", "ProtectSystem=full"}, ()),
        ("me", True, {"Wants=network-online.target"}, ("RestartPreventExitStatus",)),
    ],
)
def test_a_unit_hides_no_tree_and_has_the_privileges_of_its_manager(
    account: str | None, present: set[str], absent: tuple[str, ...], *, server: bool
) -> None:
    lines = systemd_unit(make_service(account=account, server=server)).decode().splitlines()
    assert ALWAYS | present <= set(lines)
    assert [] == [line for line in lines if line.startswith((*HIDING, *absent))]


def test_an_impossible_environment_variable_is_refused() -> None:
    with pytest.raises(UsageError, match="RUNNER_SETTINGS"):
        systemd_unit(make_service(RUNNER_SETTINGS="/a\nb"))
