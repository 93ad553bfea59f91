"""Links of another user in a directory that root works in: nothing outside is created or changed."""

import errno
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

import platformdirs
import pytest
from conftest import Program, until
from sqlalchemy import Connection

from runner.cli.logs import log_defect
from runner.history import backup
from runner.history.database import locate
from runner.history.filelocks import RunLockFile
from runner.history.sqlite_transactions import driver_of
from runner.model.errors import DatabaseUnusable, HistoryError
from runner.model.file_replacement import replace_file
from runner.model.links import ForeignLink, open_parent
from runner.operations.service_files import write_service
from runner.scan.cache import load

OTHER = 12345


@dataclass
class World:
    """A directory of another user with planted links, and one that they lead to.

    Attributes:
        program: The program, run as root.
        theirs: The other user's directory.
        outside: What the links lead to.
    """

    program: Program
    theirs: Path
    outside: Path

    def plant(self, name: str, target: str) -> Path:
        """Create a link to a path outside."""
        link = self.theirs / name
        link.symlink_to(self.outside / target)
        os.lchown(link, OTHER, OTHER)
        return link

    def refuse(self, *command: str | Path, code: int = 2) -> str:
        """Run a command that has to be refused in one line without a change outside; gives the line."""
        before = contents(self.outside)
        refused = self.program.call(*command)
        said = refused.stderr.decode()
        assert (code, 1) == (refused.returncode, said.count("\n")), said
        assert before == contents(self.outside)
        return said


def contents(folder: Path) -> dict[Path, tuple[int, int, int, bytes]]:
    found = {}
    for path in [folder, *folder.rglob("*")]:
        stat = path.lstat()
        found[path] = stat.st_mode, stat.st_uid, stat.st_mtime_ns, path.read_bytes() if path.is_file() else b""
    return found


@pytest.fixture
def world(program: Program) -> World:
    if os.geteuid() != 0:
        pytest.skip("only root can make files of another user")
    world = World(program, program.folder / "theirs", program.folder / "outside")
    world.theirs.mkdir()
    world.outside.mkdir()
    (world.outside / "file").write_text("kept")
    (world.outside / "folder").mkdir()
    (world.outside / "empty").touch()
    os.chown(world.theirs, OTHER, OTHER)
    return world


@pytest.mark.parametrize("target", ["new", "file", "empty"])
def test_a_database_is_not_reached_by_their_link(world: World, tree: Path, target: str) -> None:
    link = world.plant("h.db", target)
    assert "another user's link" in world.refuse("schedule", tree, "--every", "1h", "--db", link)


def test_a_database_is_not_created_below_their_link(world: World, tree: Path) -> None:
    world.plant("sub", "folder")
    assert "'sub' in it is another user's link" in world.refuse("run", tree, "--db", world.theirs / "sub/h.db")


@pytest.mark.parametrize("name", ["runs", "daemon", "upgrade"])
@pytest.mark.parametrize("target", ["new", "file"])
def test_no_lock_is_their_link(world: World, tree: Path, name: str, target: str) -> None:
    database = world.theirs / "h.db"
    if name != "upgrade":
        world.program.out("run", tree, "--db", database)
        Path(f"{database}.{name}.lock").unlink(missing_ok=True)
    world.plant(f"h.db.{name}.lock", target)
    command: list[str | Path] = ["daemon"] if name == "daemon" else ["run", tree]
    said = world.refuse(*command, "--db", database, code=2 if name == "upgrade" else 1)
    assert "symbolic link; remove it" in said


def test_no_lock_is_created_by_a_link_that_is_planted_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.open

    def planted(path: Path, flags: int, mode: int = 0o777) -> int:
        try:
            return plain(path, flags, mode)
        except FileNotFoundError:
            world.plant("h.db.runs.lock", "new")
            raise

    monkeypatch.setattr(os, "open", planted)
    with pytest.raises(HistoryError, match="symbolic link; remove it"):
        RunLockFile(world.theirs / "h.db").hold()
    assert not (world.outside / "new").exists()


def test_a_planted_lock_that_they_hold_does_not_delay_a_database(world: World, tree: Path) -> None:
    lock = world.theirs / "h.db.upgrade.lock"
    lock.touch(0o666)
    os.chown(lock, OTHER, OTHER)
    assert "belongs to another user" in world.refuse("run", tree, "--db", world.theirs / "h.db")


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo"])
def test_what_is_planted_beside_a_database_is_refused(world: World, tree: Path, suffix: str, kind: str) -> None:
    planted = world.theirs / f"h.db{suffix}"
    if kind == "fifo":
        os.mkfifo(planted)
    elif kind == "link":
        world.plant(planted.name, "empty")
    else:
        planted.hardlink_to(world.outside / "file")
    assert "remove it" in world.refuse("run", tree, "--db", world.theirs / "h.db")


@pytest.mark.parametrize("planted", ["copy.db", "sub"])
def test_a_backup_is_not_written_by_their_link(world: World, tree: Path, planted: str) -> None:
    world.program.out("run", tree)
    world.plant(planted, "new" if planted == "copy.db" else "folder")
    target = world.theirs / ("copy.db" if planted == "copy.db" else "sub/copy.db")
    world.refuse("db", "backup", target)


def test_a_planted_partial_backup_is_replaced(world: World, tree: Path) -> None:
    world.program.out("run", tree)
    world.plant("copy.db.partial", "file")
    before = contents(world.outside)
    world.program.out("db", "backup", world.theirs / "copy.db")
    assert before == contents(world.outside)
    assert 0o600 == S_IMODE((world.theirs / "copy.db").stat().st_mode)


def test_a_backup_that_is_replaced_while_it_is_written_is_refused(
    world: World, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.program.out("run", tree)
    plain = sqlite3.connect

    def replaced(path: str) -> sqlite3.Connection:
        (world.theirs / "copy.db.partial").unlink()
        world.plant("copy.db.partial", "new")
        return plain(path)

    monkeypatch.setattr(sqlite3, "connect", replaced)
    database = locate(str(world.program.database))
    with pytest.raises(DatabaseUnusable, match="has replaced it"):
        backup.copy_file(database.make_engine(1.0), world.theirs / "copy.db")
    # SQLite has opened it, but nothing was written.
    assert not (world.outside / "new").exists() or not (world.outside / "new").stat().st_size


def test_a_backup_replaces_nothing_that_is_created_meanwhile(
    world: World, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.program.out("run", tree)
    target = world.theirs / "copy.db"
    plain = driver_of

    def created(connection: Connection) -> sqlite3.Connection:
        target.write_text("mine")
        return plain(connection)

    monkeypatch.setattr(backup, "driver_of", created)
    database = locate(str(world.program.database))
    with pytest.raises(DatabaseUnusable, match="exists already"):
        backup.copy_file(database.make_engine(1.0), target)
    assert "mine" == target.read_text()
    assert not (world.theirs / "copy.db.partial").exists()


@pytest.mark.parametrize(("name", "target"), [("m.prom", "new"), ("m.prom", "file"), ("sub", "folder")])
def test_metrics_are_not_written_by_their_link(world: World, name: str, target: str) -> None:
    world.plant(name, target)
    path = world.theirs / (name if name == "m.prom" else "sub/m.prom")
    assert "another user's link" in world.refuse("daemon", "--metrics-file", path)


def test_metrics_are_not_written_by_a_link_that_is_planted_later(world: World) -> None:
    path = world.theirs / "sub" / "m.prom"
    path.parent.mkdir()
    with world.program.daemon("--metrics-file", path) as daemon:
        until(path.exists, "the first metrics")
        path.parent.rename(world.theirs / "away")
        world.plant("sub", "folder")
        before = contents(world.outside)
        assert 0 == daemon.stop(signal.SIGTERM)
        assert "another user's link" in daemon.said()
    assert before == contents(world.outside)


def test_no_file_is_replaced_by_a_link_whose_name_was_guessed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    world.plant(".m.prom.00000000.new", "new")
    with pytest.raises(FileExistsError):
        replace_file(world.theirs / "m.prom", b"1", durable=False)
    assert not (world.outside / "new").exists()


@pytest.mark.parametrize(
    "planted", ["runner", "runner/{where}", "runner/{where}/job-1", "runner/{where}/job-1.partial"]
)
@pytest.mark.parametrize("target", ["new", "file", "folder"])
def test_a_cache_is_not_written_by_their_link(world: World, tree: Path, planted: str, target: str) -> None:
    world.program.environment["XDG_CACHE_HOME"] = str(world.theirs)
    world.program.out("schedule", tree, "--every", "1h", "--strategy", "incremental")
    world.program.out("run", "docs")
    [cache] = world.theirs.glob("runner/*/job-1")
    place = world.theirs / planted.format(where=cache.parent.name)
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    world.plant(str(place.relative_to(world.theirs)), target)
    before = contents(world.outside)
    world.program.out("run", "docs")
    assert before == contents(world.outside)


def test_a_cache_of_another_user_is_not_read(world: World) -> None:
    cache = world.theirs / "cache"
    cache.write_bytes(b"planted")
    os.chown(cache, OTHER, OTHER)
    assert "not a regular file of this user" in str(load(os.fsencode(cache)))
    cache.unlink()
    os.mkfifo(cache)
    assert "not a regular file of this user" in str(load(os.fsencode(cache)))


@pytest.mark.parametrize(("planted", "target"), [("systemd/user/runner.service", "file"), ("systemd", "folder")])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_service_is_not_written_by_their_link(world: World, planted: str, target: str, force: list[str]) -> None:
    world.program.environment["XDG_CONFIG_HOME"] = str(world.theirs)
    (world.theirs / planted).parent.mkdir(parents=True, exist_ok=True)
    world.plant(planted, target)
    before = contents(world.outside)
    done = world.program.call("service", "install", "--user", "--kind", "systemd", *force)
    assert before == contents(world.outside)
    assert (0 if force and target == "file" else 2) == done.returncode, done.stderr


def test_a_service_is_not_read_by_a_link(world: World) -> None:
    link = world.plant("runner.service", "file")
    assert write_service(link, b"kept", force=True)
    assert not link.is_symlink()
    assert b"kept" == link.read_bytes()


@pytest.mark.parametrize("planted", ["runner", "runner/log"])
def test_a_defects_log_is_not_written_by_their_link(
    world: World, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    monkeypatch.setattr(platformdirs, "user_log_path", lambda name: world.theirs / name / "log")
    (world.theirs / planted).parent.mkdir(exist_ok=True)
    world.plant(planted, "folder")
    before = contents(world.outside)
    place = Path(log_defect())
    assert before == contents(world.outside)
    assert (0o600, False) == (S_IMODE(place.stat().st_mode), place.is_relative_to(world.theirs))
    place.unlink()


def test_the_default_folder_is_not_created_by_their_link(world: World, tree: Path) -> None:
    world.program.environment |= {"XDG_DATA_HOME": str(world.theirs), "RUNNER_DB": ""}
    world.plant("runner", "folder")
    assert "another user's link" in world.refuse("run", tree)


def test_ones_own_links_are_followed(program: Program, tree: Path) -> None:
    """Also links to links, relative ones, and ones that lead to what does not exist yet."""
    real = program.folder / "real"
    real.mkdir()
    (program.folder / "one").symlink_to("two")
    (program.folder / "two").symlink_to(real)
    (real / "h.db").symlink_to("../real/new.db")
    database = program.folder / "one" / "h.db"
    program.out("run", tree, "--db", database)
    program.out("db", "backup", program.folder / "one" / "copy.db", "--db", database)
    assert {"h.db", "new.db", "new.db.runs.lock", "copy.db"} == {path.name for path in real.iterdir()}
    with closing(sqlite3.connect(real / "copy.db")) as copy:
        assert [("ok",)] == copy.execute("PRAGMA integrity_check").fetchall()
    (real / "m.prom").symlink_to(real / "metrics")
    with program.daemon("--metrics-file", program.folder / "one" / "m.prom"):
        until((real / "metrics").exists, "the metrics")
    assert (real / "m.prom").is_symlink()


def test_links_that_go_round_are_no_endless_walk(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), open_parent(str(tmp_path / "a" / "file")):
        pass


def test_another_user_is_bound_as_root_is(world: World) -> None:
    """Root's links are followed by everybody, those of others by nobody; what can be entered need not be readable."""
    place = world.theirs / "closed"
    place.mkdir(0o311)
    with open_parent(str(place / "file")) as (_, name):
        assert b"file" == name
    world.plant("sub", "folder")
    with pytest.raises(ForeignLink), open_parent(str(world.theirs / "sub" / "file")):
        pass


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    replace_file(path, b"1", durable=False)
    assert 0o644 == S_IMODE(path.stat().st_mode)
    path.chmod(0o640)
    replace_file(path, b"2", durable=False)
    assert (0o640, b"2") == (S_IMODE(path.stat().st_mode), path.read_bytes())
