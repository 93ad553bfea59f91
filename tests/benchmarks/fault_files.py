"""Faults of files: a tree goes away, a migration breaks off."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from tests.benchmarks.fault_checks import Hang, Wrong, wait_for
from tests.benchmarks.fault_kinds import MOMENT_S, Kinds, needs_mounts, rest, trial_of
from tests.benchmarks.fault_trees import JOBS
from tests.benchmarks.fault_world import World

KINDS = Kinds()


def _permissions(world: World) -> str | None:
    return None if world.obeys_permissions else "root can't give up its power over permissions without setpriv"


# The trees.


@KINDS.enter("root moved away in mid-scan")
def _root_away(world: World) -> bool:
    job = "large" if world.mounts else world.random.choice(JOBS).name
    return _without_root(world, job, lambda _root: None)


@KINDS.enter("root replaced by a file in mid-scan")
def _root_file(world: World) -> bool:
    return _without_root(world, world.random.choice(JOBS).name, lambda root: root.write_text("a file\n"))


@KINDS.enter("root replaced by a folder in mid-scan")
def _root_folder(world: World) -> bool:
    def replace(root: Path) -> None:
        root.mkdir()
        (root / "stranger.md").touch()

    return _without_root(world, world.random.choice(JOBS).name, replace)


def _without_root(world: World, job: str, replace: Callable[[Path], object]) -> bool:
    """Replace the tree of a job for a while."""
    root = world.trees.root(job)
    trial = trial_of(world, job)
    if world.mounts:  # a mount can't be renamed
        world.trees.unmount(job)
    away = root.with_name("away")
    root.rename(away)
    try:
        replace(root)
        rest(world, 1.2, 0.1)
    finally:
        if root.is_dir():
            shutil.rmtree(root)
        root.unlink(missing_ok=True)
        away.rename(root)
        if world.mounts:
            world.trees.mount(job)
    return trial is not None


@KINDS.enter("root unmounted in mid-scan", needs=needs_mounts)
def _root_unmounted(world: World) -> bool:
    job = world.random.choice(JOBS).name
    trial = trial_of(world, job)
    world.trees.unmount(job)
    try:
        rest(world, 1.2, 0.1)
    finally:
        world.trees.mount(job)
    return trial is not None


@KINDS.enter("root closed in mid-scan", needs=_permissions)
def _root_closed(world: World) -> bool:
    job = world.random.choice(JOBS).name
    trial = trial_of(world, job)
    closed = world.trees.root(job) if world.random.random() < 0.5 else world.trees.root(job) / "part-3"
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        rest(world, 1.2, 0.1)
    finally:
        closed.chmod(mode)
    return trial is not None


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


def _old_database(world: World) -> Path:
    """Create a database of the first schema whose migration takes a while."""
    path = world.folder / "old.db"
    if path.exists():
        return path
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", _OLD, path], check=True, cwd=root, env=world.environment)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO selections VALUES (1, '[\"*.md\"]', '[]', 0, 'stat', 0)")
        old.execute(
            "INSERT INTO jobs (id, name, root, selection_id, strategies, catchup, paused, created_at, armed_at) VALUES "
            "(1, 'old', x'2f6f6c64', 1, '[\"sequential\"]', 'once', 0, '2020-01-01 00:00:00', '2020-01-01 00:00:00')"
        )
        columns = {row[1] for row in old.execute("PRAGMA table_info(runs)") if row[3] and not row[5]}
        values = {
            "job_id": "1",
            "selection_id": "1",
            "cause": "'manual'",
            "status": "'failed'",
            "started_at": "'2021-01-01 00:00:00'",
            "finished_at": "'2021-01-01 00:00:01'",
            "message": "'kept'",
        }
        values |= dict.fromkeys(columns - values.keys(), "0")
        old.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_OLD_RUNS}) "  # noqa: S608  own names
            f"INSERT INTO runs ({', '.join(values)}) SELECT {', '.join(values.values())} FROM n"
        )
    return path


@KINDS.enter("killed in mid-migration")
def _killed_migrating(world: World) -> None:
    path = world.folder / "upgraded" / "runner.db"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    shutil.copy(_old_database(world), path)
    upgrading = world.start("db", "upgrade", "--db", str(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.by_hand.append(upgrading)
    # It works on the database from the moment it has made the backup's file.
    with suppress(Hang):
        wait_for(lambda: len(list(path.parent.iterdir())) > 1, "the backup", MOMENT_S, 0.0005)
    rest(world, 0.35)
    upgrading.kill()
    upgrading.wait()
    world.by_hand.remove(upgrading)
    for command in ("upgrade", "check"):
        code, _, messages = world.ask("db", command, "--db", str(path))
        if code != 0:
            raise Wrong("wrong answers", f"after a killed upgrade, db {command} ends with {code}: {messages!r}")
    if left := list(path.parent.glob("*.partial")):
        raise Wrong("leftovers", f"a killed upgrade has left {left}")
    with closing(sqlite3.connect(path)) as upgraded:
        if upgraded.execute("SELECT count(*) FROM run_history WHERE message = 'kept'").fetchone() != (_OLD_RUNS,):
            raise Wrong("losses", "after a killed upgrade, the history is another")
