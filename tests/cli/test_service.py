"""``runner service``: what it writes, where to, and what it refuses."""

import errno
import os
import plistlib
import pwd
import stat
import sys
from pathlib import Path

import pytest
from conftest import Program

from runner.operations import service_files as installing
from runner.operations.launchd import is_plist


@pytest.fixture(autouse=True)
def home(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home of its own to the program, and folders of the machine below it; no database is named."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "RUNNER_DB"):
        program.environment.pop(name, None)
    program.environment.pop("SUDO_USER", None)
    program.environment["HOME"] = str(folder)
    monkeypatch.setattr(installing, "_SYSTEM_UNITS", tmp_path / "etc/systemd/system")
    monkeypatch.setattr(installing, "_SYSTEM_DAEMONS", tmp_path / "Library/LaunchDaemons")
    return folder


OWN = ["--user", "--kind", "systemd"]


def installed(program: Program, *arguments: str) -> Path:
    """Install a service; gives its file."""
    return Path(program.out("service", "install", *(arguments or OWN)).strip())


def refused(program: Program, *arguments: str) -> str:
    """Call what must be refused in one line, with nothing changed; gives the line."""
    before = sorted(program.folder.rglob("*"))
    said = program.refused("service", *arguments)
    assert before == sorted(program.folder.rglob("*"))
    return said


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (OWN, "home/.config/systemd/user/runner.service"),
        (["--system", "--kind", "systemd"], "etc/systemd/system/runner.service"),
        (["--user", "--kind", "launchd"], "home/Library/LaunchAgents/runner.daemon.plist"),
        (["--system", "--kind", "launchd"], "Library/LaunchDaemons/runner.daemon.plist"),
    ],
)
def test_what_is_printed_is_installed_where_the_manager_looks_and_removed(
    program: Program, tmp_path: Path, arguments: list[str], place: str
) -> None:
    path = tmp_path / place
    assert f"no service is installed at {path}" in refused(program, "uninstall", *arguments)
    program.environment["RUNNER_DB"] = str(tmp_path / "another.db")
    printed = program.out("service", "print", *arguments)
    assert path == installed(program, *arguments)
    del program.environment["RUNNER_DB"]
    assert printed == path.read_text()
    assert 0o644 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(path.parent.iterdir())
    assert f"{path}\n" == program.out("service", "uninstall", *arguments)
    assert not path.exists()
    assert f"no service is installed at {path}" in refused(program, "uninstall", *arguments)


def test_the_configuration_folder_is_honoured_if_it_is_absolute(program: Program, home: Path, tmp_path: Path) -> None:
    program.environment["XDG_CONFIG_HOME"] = str(tmp_path / "elsewhere")
    path = program.out("service", "install", *OWN).strip()
    assert f"{tmp_path}/elsewhere/systemd/user/runner.service" == path
    assert f"Environment=XDG_CONFIG_HOME={tmp_path / 'elsewhere'}\n" in Path(path).read_text()
    program.environment["XDG_CONFIG_HOME"] = "elsewhere"
    path = program.out("service", "install", *OWN).strip()
    assert f"{home}/.config/systemd/user/runner.service" == path


def test_a_file_that_differs_stays_unless_it_may_be_replaced(program: Program) -> None:
    install = ["install", *OWN]
    path = installed(program)
    wanted, number = path.read_bytes(), path.stat().st_ino
    assert 0 == program.quick("service", *install).returncode
    assert number == path.stat().st_ino  # the same is left alone
    path.write_text("mine\n")
    assert "--force" in refused(program, *install)
    assert "mine\n" == path.read_text()
    done = program.quick("service", *install, "--force")
    assert 0 == done.returncode
    assert b"systemctl --user daemon-reload && systemctl --user enable runner" in done.stderr
    assert b"systemctl --user restart runner" in done.stderr
    assert wanted == path.read_bytes()


def test_a_unit_that_is_masked_or_linked_to_nothing_is_another_file(program: Program) -> None:
    install = ["install", *OWN]
    path = installed(program)
    for target in ("/dev/null", "/nowhere"):
        path.unlink()
        path.symlink_to(target)
        assert "--force" in refused(program, *install)
        assert target == str(path.readlink())


def test_what_can_not_be_written_is_refused(program: Program, home: Path) -> None:
    (home / ".config").mkdir()
    (home / ".config/systemd").write_text("not a folder")
    program.out("db", "path")  # which makes the folder of the database
    assert "can't be written" in refused(program, "install", *OWN)
    (home / "Library/LaunchAgents/runner.daemon.plist").mkdir(parents=True)
    assert "can't be written" in refused(program, "install", "--user", "--kind", "launchd", "--force")


@pytest.mark.parametrize(
    ("where", "kind", "starts", "stops"),
    [
        (
            "--user",
            "systemd",
            "systemctl --user daemon-reload && systemctl --user enable --now runner",
            "systemctl --user",
        ),
        ("--system", "systemd", "systemctl daemon-reload && systemctl enable --now runner", "systemctl"),
        (
            "--user",
            "launchd",
            "launchctl bootstrap gui/$(id -u) {path}",
            "launchctl bootout gui/$(id -u)/runner.daemon",
        ),
        ("--system", "launchd", "launchctl bootstrap system {path}", "launchctl bootout system/runner.daemon"),
    ],
)
def test_the_commands_that_start_and_stop_it_are_shown(
    program: Program, where: str, kind: str, starts: str, stops: str
) -> None:
    done = program.quick("service", "install", where, "--kind", kind)
    told = done.stderr.decode()
    assert f"{starts.format(path=done.stdout.decode().strip())}\n" in told
    assert ("log in" in told, "It will run as " in told) == (where == "--user", where == "--system")
    left = program.quick("service", "uninstall", where, "--kind", kind).stderr.decode()
    assert left.endswith(f"{stops} stop runner && {stops} daemon-reload\n" if kind == "systemd" else f"{stops}\n")
    lingers = (where, kind) == ("--user", "systemd")
    assert [lingers, lingers] == ["loginctl enable-linger\n" in told, "disable-linger" in left]


def exec_start(unit: str) -> str:
    """Return the command of a unit."""
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    return line.removeprefix("ExecStart=")


def test_a_database_is_part_of_it_when_it_is_named(program: Program, tmp_path: Path) -> None:
    show = ["service", "print", *OWN]
    assert exec_start(program.out(*show)).endswith(" daemon")
    assert exec_start(program.out(*show, "--db", "a.db")).endswith(f" daemon --db {tmp_path}/a.db")
    assert exec_start(program.out("--db", "b.db", *show)).endswith(f" daemon --db {tmp_path}/b.db")
    program.environment["RUNNER_DB"] = "c d.db"
    assert exec_start(program.out(*show)).endswith(f' daemon --db "{tmp_path}/c d.db"')
    program.environment["RUNNER_DB"] = "postgresql://me@db.example/history?options=-csearch_path%3Dscans"
    assert "search_path%%3Dscans" in exec_start(program.out(*show))


def test_a_settings_file_that_is_named_is_part_of_it_and_tells_of_a_server(program: Program, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("db = 'postgresql://me:hunter2@db.example/history'\n")
    program.environment["RUNNER_SETTINGS"] = "settings.toml"
    unit = program.out("service", "print", *OWN)
    assert f"Environment=RUNNER_SETTINGS={tmp_path}/settings.toml\n" in unit
    assert "hunter2" not in unit
    assert "RestartPreventExitStatus" not in unit


@pytest.mark.parametrize("where", ["--user", "--system"])
def test_what_the_daemon_would_refuse_is_refused_before(program: Program, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("text, not SQLite, and longer than its header of a hundred bytes\n" * 3)
    for asked in ("print", "install"):
        assert "does not exist; create it" in refused(program, asked, where, "--db", str(tmp_path / "no/runner.db"))
        assert "is not a SQLite database" in refused(program, asked, where, "--db", str(tmp_path / "file"))
        program.environment["RUNNER_SETTINGS"] = "missing.toml"
        assert "missing.toml named by RUNNER_SETTINGS does not exist" in refused(program, asked, where)
        del program.environment["RUNNER_SETTINGS"]


def test_that_systemd_does_not_run_here_is_told(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = ["service", "install", "--user", "--kind"]
    monkeypatch.setattr(installing, "_SYSTEMD_RUNS", tmp_path / "run")
    note = b"note: systemd does not run here; the commands are for when it does\n"
    assert note in program.quick(*install, "systemd").stderr
    assert note not in program.quick(*install, "launchd").stderr
    (tmp_path / "run").mkdir()
    assert note not in program.quick(*install, "systemd").stderr


@pytest.mark.parametrize("place", ["//me:hunter2@db.example/runs", "//me@db.example/runs?password=hunter2"])
def test_a_password_is_not_written_where_everybody_can_read_it(program: Program, place: str) -> None:
    for arguments in (["print", "--user"], ["install", "--user"], ["install", "--system"]):
        said = refused(program, *arguments, "--db", f"postgresql:{place}")
        assert "hunter2" not in said
        assert "~/.pgpass" in said
        assert "settings file" in said


def test_a_service_of_the_machine_runs_as_whoever_asked_for_it(program: Program) -> None:
    show = ["service", "print", "--system", "--kind", "systemd"]
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert f"\nUser={me}\n" in program.out(*show)
    assert "\nUser=nobody\n" in program.out(*show, "--user-account", "nobody")
    program.environment["SUDO_USER"] = "nobody"
    assert f"\nUser={'nobody' if os.geteuid() == 0 else me}\n" in program.out(*show)
    assert "no account 'no-one-at-all'" in refused(program, "print", "--system", "--user-account", "no-one-at-all")
    assert "--system" in refused(program, "print", "--user", "--user-account", "nobody")


def test_it_is_the_machines_for_root_and_a_users_own_for_others(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid, target in ((0, "multi-user"), (pwd.getpwnam("nobody").pw_uid, "default")):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        assert f"\nWantedBy={target}.target\n" in program.out("service", "print", "--kind", "systemd")


def test_the_program_is_named_by_its_absolute_path(program: Program, tmp_path: Path) -> None:
    show = ["service", "print", *OWN]
    assert f"{sys.executable} -P -m runner daemon" == exec_start(program.out(*show))
    (tmp_path / "runner").write_text("#!/bin/sh\n")  # as which a call from its folder is started
    (tmp_path / "runner").chmod(0o755)
    assert f"{tmp_path}/runner daemon" == exec_start(program.out(*show))


def test_a_property_list_says_what_launchd_does(program: Program, home: Path) -> None:
    program.environment["RUNNER_DB"] = "a & b.db"
    own = plistlib.loads(program.out("service", "print", "--user", "--kind", "launchd").encode())
    assert ["daemon", "--db", f"{program.folder}/a & b.db"] == own["ProgramArguments"][-3:]
    assert [True, {"SuccessfulExit": False}, "Interactive", 60] == [
        own[key] for key in ("RunAtLoad", "KeepAlive", "ProcessType", "ExitTimeOut")
    ]
    assert f"{home}/Library/Logs/runner.log" == own["StandardErrorPath"]
    assert "UserName" not in own
    machine = program.out("service", "print", "--system", "--kind", "launchd", "--user-account", "nobody")
    assert "nobody" == plistlib.loads(machine.encode())["UserName"]
    assert "property list" in refused(program, "print", "--user", "--kind", "launchd", "--db", "a\x01b")


def test_a_unit_that_is_enabled_is_no_longer_wanted_once_it_is_removed(program: Program) -> None:
    path = installed(program)
    wants, needs = path.parent / "default.target.wants", path.parent / "backup.target.requires"
    other, round_about = wants / "other.service", path.parent / "round-about.service"
    wants.mkdir()
    needs.mkdir()
    links = [wants / "runner.service", needs / "runner.service", wants / "scans.service", path.parent / "scans.service"]
    for link in links:
        link.symlink_to(path)
    other.symlink_to(path.with_name("other.service"))
    round_about.symlink_to(round_about)
    done = program.quick("service", "uninstall", *OWN)
    assert {path, *links} == set(map(Path, done.stdout.decode().splitlines()))
    assert {wants, other, needs, round_about} == set(path.parent.rglob("*"))


def test_what_a_person_has_added_to_a_unit_is_left_and_named(program: Program) -> None:
    path = installed(program)
    added = path.with_name("runner.service.d") / "nice.conf"
    added.parent.mkdir()
    added.write_text("[Service]\nNice=5\n")
    said = program.quick("service", "uninstall", *OWN).stderr.decode()
    assert said.startswith(f"{added.parent} is left as it is: what it adds to the service is yours\n")
    assert added.exists()
    program.out("service", "install", *OWN)
    added.unlink()
    added.parent.rmdir()
    assert "is left" not in program.quick("service", "uninstall", *OWN).stderr.decode()


def test_what_somebody_else_has_put_there_is_not_removed(program: Program) -> None:
    for kind in ("systemd", "launchd"):
        where = ["--user", "--kind", kind]
        path = installed(program, *where)
        path.write_text("mine\n")
        assert "remove it yourself" in refused(program, "uninstall", *where)
        path.unlink()
        for target in ("/dev/null", "/nowhere"):
            path.symlink_to(target)
            assert "remove it yourself" in refused(program, "uninstall", *where)
            assert target == str(path.readlink())
            path.unlink()


@pytest.mark.parametrize(
    "content",
    [
        plistlib.dumps({"Label": "runner.daemon"}).replace(b"<string>runner.daemon</string>", wrong)
        for wrong in (b"<date>xx</date>", b"<integer></integer>", b"<data>x</data>", b"<real>x</real>", b"</dict>")
    ]
    + [b"bplist00", b"bplist00" + bytes(32), b"bplist00\xa1\x08\x08" + bytes(32), b"\xff\xfe<", b"<plist>", b""],
)
def test_a_property_list_that_can_not_be_read_is_somebody_elses(content: bytes) -> None:
    assert is_plist(plistlib.dumps({"Label": "runner.daemon"}))
    assert not is_plist(content)


def test_a_service_that_was_changed_since_is_still_runners(program: Program) -> None:
    for kind, changes in (
        ("systemd", [(b"[Unit]", b"# mine\n[Unit]"), (b"Description=runner", b"Description=scans"), (b"\n", b"\r\n")]),
        ("launchd", [(b"<plist", b"<!-- mine --><plist"), (b"60", b"90")]),
    ):
        where = ["--user", "--kind", kind]
        for old, new in changes:
            path = installed(program, *where)
            content = path.read_bytes()
            assert old in content
            path.write_bytes(content.replace(old, new))
            assert f"{path}\n" == program.out("service", "uninstall", *where)


def test_a_link_that_can_not_be_removed_is_named_and_the_service_can_still_be(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = installed(program)
    link = path.parent / "default.target.wants/runner.service"
    link.parent.mkdir()
    link.symlink_to(path)
    unlink = Path.unlink

    # The kernel denies root nothing: the denial is played.
    def refuse(each: Path, *arguments: bool, **choices: bool) -> None:
        if each == link:
            raise PermissionError(errno.EACCES, "Permission denied", str(each))
        unlink(each, *arguments, **choices)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        for _ in range(2):
            said = refused(program, "uninstall", *OWN)
            assert f"the link {link} to the service file can't be removed: Permission denied" in said
    program.out("service", "uninstall", *OWN)
    assert not path.exists()
    assert not link.is_symlink()


def test_a_service_that_is_installed_elsewhere_is_hinted_at(program: Program) -> None:
    program.out("service", "install", "--system", "--kind", "systemd")
    assert "; the machine has one: --system" in refused(program, "uninstall", *OWN)


def test_what_can_not_be_removed_is_refused(program: Program, home: Path) -> None:
    path = home / "Library/LaunchAgents/runner.daemon.plist"
    path.mkdir(parents=True)
    assert "can't be removed" in refused(program, "uninstall", "--user", "--kind", "launchd")
