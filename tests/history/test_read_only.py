"""Read-only histories: every query is answered, nothing is written, and commands that write are refused."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from history_examples import contents, opened, refused_by_permissions
from postgresql_server import PostgresqlServer

from runner.history.jobs import add_job
from runner.model.jobs import JobSpec
from tests.benchmarks.consistency import QUESTIONS, answer, record

ASKED = (*QUESTIONS, ("next",), ("regressions", "docs"), ("db", "check"))
REFUSED = (
    ("schedule", ".", "--every", "1h"),
    ("edit", "docs", "--workers", "3"),
    ("pause", "docs"),
    ("remove", "docs"),
    ("run", "docs"),
    ("calibrate", "."),
    ("prune", "--keep", "1"),
    ("daemon",),
)
ASK = """
import json, sys
from tests.benchmarks.consistency import answer
place, questions = sys.argv[1:]
print(json.dumps([answer(place, tuple(question)) for question in json.loads(questions)]))
"""
HOW = {
    "permissions": "",
    "mount": "mount --bind {0} {0} && mount -o remount,bind,ro {0}",
    "file system": "cp -a {0}/. {1}/ && mount -t tmpfs tmpfs {0} && cp -a {1}/. {0}/ && mount -o remount,ro {0}",
}


def ask(how: str, path: Path, spare: Path, questions: tuple[tuple[str, ...], ...]) -> list[tuple[int, str, str]]:
    """Run a command in another process for which the database is read-only."""
    program = (str(path), json.dumps(questions))
    if how == "permissions":
        said = refused_by_permissions(ASK, *program)
    else:
        mounting = HOW[how].format(path.parent, spare) + ' && exec "$@"'
        command = ["unshare", "--mount", "sh", "-ec", mounting, "sh", sys.executable, "-c", ASK, *program]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    return [tuple(json.loads(one)) for one in json.loads(said)]


@pytest.fixture(params=["at rest", "with a -wal file", "in use"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Yield a history in its own directory: closed, left by a crash, or open in another process."""
    made = tmp_path / "made" / "history.db"
    path = tmp_path / "kept" / "history.db"
    for folder in (made.parent, path.parent, tmp_path / "spare"):
        folder.mkdir()
    target = path if request.param == "in use" else made
    with opened(target) as database:
        job = add_job(database, JobSpec(name="docs", root=b"/srv/docs"), datetime.now(UTC))
        for seed in range(8):
            record(database, job, random.Random(seed))  # noqa: S311  chance, not secrets
        if request.param == "in use":
            yield path
            return
        if request.param == "with a -wal file":
            shutil.copy(made, path)
            shutil.copy(f"{made}-wal", f"{path}-wal")
            assert Path(f"{path}-wal").stat().st_size
    if request.param == "at rest":
        shutil.copy(made, path)
    yield path


def closed(path: Path) -> None:
    """Remove the permission to write from everything in a directory."""
    for file in path.parent.iterdir():
        file.chmod(0o444)
    path.parent.chmod(0o555)


def without_modes(notes: str) -> str:
    return "".join(line for line in notes.splitlines(keepends=True) if "others have access" not in line)


@pytest.mark.parametrize("how", HOW)
def test_every_command_reads_and_none_writes(how: str, kept: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(kept.parent, twin)
    expected = [json.loads(answer(str(twin / "history.db"), question)) for question in ASKED]
    if how == "permissions":
        closed(kept)
    before = contents(kept.parent)
    given, refused = (ask(how, kept, tmp_path / "spare", questions) for questions in (ASKED, REFUSED))
    assert before == contents(kept.parent)
    for question, wanted, (code, out, err) in zip(ASKED, expected, given, strict=True):
        given_answer = [code, out.replace(str(kept.parent), str(twin)), without_modes(err)]
        assert [*wanted[:2], without_modes(wanted[2])] == given_answer, question
    for question, (code, _, err) in zip(REFUSED, refused, strict=True):
        assert (1, 1) == (code, err.count("\n")), (question, err)
        assert f"the database {kept} is read-only: " in err


def test_a_read_only_role_can_read(postgresql: PostgresqlServer) -> None:
    with postgresql.fresh("kept") as name:
        url = postgresql.url(name)
        with opened(url) as database:
            job = add_job(database, JobSpec(name="docs", root=b"/srv/docs"), datetime.now(UTC))
            for seed in range(8):
                record(database, job, random.Random(seed))  # noqa: S311  chance, not secrets
        postgresql.do("CREATE ROLE looker LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker", name=name)
        looker = postgresql.url(name, "looker")
        for question in ASKED:
            given, wanted = (json.loads(answer(place, question)) for place in (looker, url))
            assert wanted == [part.replace("looker@", "runner@") if isinstance(part, str) else part for part in given]
        for question in (one for one in REFUSED if one[0] in {"edit", "pause", "remove", "prune"}):
            code, _, err = json.loads(answer(looker, question))
            assert (1, 1) == (code, err.count("\n"))
            assert "read-only to this user" in err
        postgresql.do("DROP OWNED BY looker", "DROP ROLE looker", name=name)


def test_an_older_read_only_schema_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "history.db"
    path.parent.mkdir()
    with opened(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    closed(path)
    [(code, _, err)] = ask("permissions", path, tmp_path, (("history",),))
    assert (1, 1) == (code, err.count("\n"))
    assert f"the database {path} is read-only: " in err
    assert "its schema 0003 is an older one, which can't be upgraded there" in err
