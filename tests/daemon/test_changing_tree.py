"""A history made by the real daemon over a changing tree answers every question as a replay of the changes does."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from conftest import Program, until

# Size in bytes and modification time in nanoseconds of each markdown file, by its path.
State = dict[str, tuple[int, int]]


def look(root: Path) -> State:
    """Look at the tree itself, in a way that has nothing in common with a scan."""
    state = {}
    for directory, _, names in os.walk(root):
        for name in names:
            if name.endswith(".md"):
                path = Path(directory, name)
                stat = path.lstat()
                state[str(path.relative_to(root))] = (stat.st_size, stat.st_mtime_ns)
    return state


def add(root: Path) -> None:
    (root / "part-1" / "below").mkdir()
    (root / "part-1" / "below" / "new.md").write_text("new\n")
    (root / "top.md").write_text("top\n")


def change(root: Path) -> None:
    (root / "part-2" / "a.md").write_text("longer than before\n")
    (root / "top.md").unlink()


def move(root: Path) -> None:
    (root / "part-1").rename(root / "part-9")


def change_back(root: Path) -> None:
    (root / "part-9").rename(root / "part-1")
    (root / "top.md").write_text("top\n")


def clear(root: Path) -> None:
    shutil.rmtree(root / "part-1")
    (root / "part-3" / "a.md").rename(root / "part-3" / "z.md")


CHANGES: tuple[Callable[[Path], None], ...] = (add, change, move, change_back, clear)


@pytest.fixture
def replay(program: Program, tree: Path) -> dict[int, tuple[State, str]]:
    """Let the daemon follow the changes; gives, for runs between two of them, the state of the tree and an instant."""
    program.out("schedule", tree, "--every", "1s", "--strategy", "sequential", "--strategy", "incremental")
    states = {}
    with program.daemon():
        for act in (lambda _: None, *CHANGES):
            act(tree)
            since = datetime.now(UTC)

            def settled(since: datetime = since) -> int | None:
                ended = [
                    run for run in program.history("succeeded") if datetime.fromisoformat(run["started_at"]) > since
                ]
                return ended[-1]["run"] if ended else None

            run_id = until(settled, "a run after the change")
            states[run_id] = look(tree), datetime.now(UTC).isoformat()
    return states


def expected_changes(old: State, new: State) -> list[tuple[str, str]]:
    added = [("added", path) for path in new.keys() - old]
    removed = [("removed", path) for path in old.keys() - new]
    modified = [("modified", path) for path in old.keys() & new if old[path] != new[path]]
    return sorted([*added, *removed, *modified], key=lambda change: change[1])


def test_every_question_is_answered_as_by_a_replay(program: Program, replay: dict[int, tuple[State, str]]) -> None:
    for run_id, (state, at) in replay.items():
        for asked in (["--run", str(run_id)], ["--at", at]):
            files = program.json("files", "docs", *asked)
            assert state == {file["path"]: (file["size_bytes"], file["mtime_ns"]) for file in files}
        counts = program.json("files", "docs", "--run", str(run_id), "--by-folder", "--depth", "2")
        counted = Counter("/".join(path.split("/")[:-1][:2]) for path in state)
        assert counted == {count["path"]: count["files"] for count in counts}
    states = list(replay.items())
    for (before, (old, since)), (after, (new, until_)) in [*pairwise(states), *combinations(states[::2], 2)]:
        expected = expected_changes(old, new)
        for asked in (["--from", str(before), "--to", str(after)], ["--since", since, "--until", until_]):
            changes = program.json("changes", "docs", *asked)
            assert expected == [(change["kind"], change["path"]) for change in changes]
        moves = program.json(
            "changes", "docs", "--from", str(before), "--to", str(after), "--by-folder", "--depth", "1"
        )
        assert len(expected) == sum(move["added"] + move["removed"] + move["modified"] for move in moves)
    for path in {path for state, _ in replay.values() for path in state}:
        life = program.json("files", "docs", "--path", path, "--history")
        for run_id, (state, _) in replay.items():
            alive = [one for one in life if one["first_run"] <= run_id and (one["gone_run"] or run_id + 1) > run_id]
            expected_state = [state[path]] if path in state else []
            assert expected_state == [(one["size_bytes"], one["mtime_ns"]) for one in alive]
    assert "sound" in program.out("db", "check")
