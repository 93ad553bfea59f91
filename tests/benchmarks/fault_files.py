"""Faults of files: a tree goes away, a migration breaks off."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from tests.benchmarks.fault_checks import Hang, Wrong, wait_for
from tests.benchmarks.fault_kinds import MOMENT_S, Fault, Kind, needs_mounts, rest, trial_of
from tests.benchmarks.fault_trees import JOBS
from tests.benchmarks.fault_world import World


def _needs_permissions(world: World) -> str | None:
    return None if world.obeys_permissions else "root can't give up its power over permissions without setpriv"


# The trees.


def _lose_root(without: Callable[[World, str], AbstractContextManager[None]]) -> Fault:
    """Move the tree of a job away for a while, in the middle of a scan."""

    def inject(world: World) -> bool:
        job = world.random.choice(JOBS).name
        trial = trial_of(world, job)
        rest(world, 0.04)
        with without(world, job):
            rest(world, 1.2, 0.1)
        return trial is not None

    return inject


@contextmanager
def _unmounted(world: World, job: str) -> Iterator[None]:
    """Remove the mount of a tree, if it is one."""
    if world.mounts:
        world.trees.unmount(job)
    try:
        yield
    finally:
        if world.mounts:
            world.trees.mount(job)


@contextmanager
def _replaced(replace: Callable[[Path], object], world: World, job: str) -> Iterator[None]:
    """Replace a tree, which can't be renamed as long as it is a mount."""
    root = world.trees.root(job)
    away = root.with_name("away")
    with _unmounted(world, job):
        root.rename(away)
        try:
            replace(root)
            yield
        finally:
            if root.is_dir():
                shutil.rmtree(root)
            root.unlink(missing_ok=True)
            away.rename(root)


def _make_stranger(root: Path) -> None:
    root.mkdir()
    (root / "stranger.md").touch()


@contextmanager
def _closed(world: World, job: str) -> Iterator[None]:
    root = world.trees.root(job)
    closed = world.random.choice((root, root / "part-3"))
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        yield
    finally:
        closed.chmod(mode)


# The schema.

# Enough for a migration to take a while.
_OLD_RUNS = 30_000
_OLD = """
import sys
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from runner.model.bundled import bundled
config = Config()
config.set_main_option("script_location", str(bundled("migrations")))
with create_engine("sqlite:///" + sys.argv[1]).begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    connection.exec_driver_sql("PRAGMA journal_mode")
"""
_JOB = "(1, 'old', x'2f6f6c64', 1, '[\"sequential\"]', 'once', 0, '2020-01-01 00:00:00', '2020-01-01 00:00:00')"


def _old_database(world: World) -> Path:
    """Create a database of the first schema whose migration takes a while."""
    path = world.folder / "old.db"
    if path.exists():
        return path
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", _OLD, path], check=True, cwd=root, env=world.environment)
    values = {"job_id": "1", "selection_id": "1", "cause": "'manual'", "status": "'failed'", "message": "'kept'"}
    values |= {"started_at": "'2021-01-01 00:00:00'", "finished_at": "'2021-01-01 00:00:01'"}
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO selections VALUES (1, '[\"*.md\"]', '[]', 0, 'stat', 0)")
        columns = "id, name, root, selection_id, strategies, catchup, paused, created_at, armed_at"
        old.execute(f"INSERT INTO jobs ({columns}) VALUES {_JOB}")  # noqa: S608  own names
        required = {row[1] for row in old.execute("PRAGMA table_info(runs)") if row[3] and not row[5]}
        values |= dict.fromkeys(required - values.keys(), "0")
        old.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_OLD_RUNS}) "  # noqa: S608
            f"INSERT INTO runs ({', '.join(values)}) SELECT {', '.join(values.values())} FROM n"
        )
    return path


def _kill_migrating(world: World) -> None:
    path = world.folder / "upgraded" / "runner.db"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    shutil.copy(_old_database(world), path)
    upgrading = world.begin("db", "upgrade", "--db", str(path))
    # It works on the database from the moment it has made the backup's file.
    with suppress(Hang):
        wait_for(lambda: len(list(path.parent.iterdir())) > 1, "the backup", MOMENT_S, 0.0005)
    rest(world, 0.35)
    upgrading.kill()
    world.heard(upgrading)
    for command in ("upgrade", "check"):
        code, _, messages = world.ask("db", command, "--db", str(path))
        if code != 0:
            raise Wrong("wrong answers", f"after a killed upgrade, db {command} ends with {code}: {messages!r}")
    if left := list(path.parent.glob("*.partial")):
        raise Wrong("leftovers", f"a killed upgrade has left {left}")
    with closing(sqlite3.connect(path)) as upgraded:
        if upgraded.execute("SELECT count(*) FROM run_history WHERE message = 'kept'").fetchone() != (_OLD_RUNS,):
            raise Wrong("losses", "after a killed upgrade, the history is another")


KINDS = (
    Kind("root moved away in mid-scan", _lose_root(partial(_replaced, lambda _root: None))),
    Kind("root replaced by a file in mid-scan", _lose_root(partial(_replaced, Path.touch))),
    Kind("root replaced by a folder in mid-scan", _lose_root(partial(_replaced, _make_stranger))),
    Kind("root unmounted in mid-scan", _lose_root(_unmounted), needs=needs_mounts),
    Kind("root closed in mid-scan", _lose_root(_closed), needs=_needs_permissions),
    Kind("killed in mid-migration", _kill_migrating),
)
