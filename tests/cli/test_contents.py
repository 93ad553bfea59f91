"""What was in a tree and how it changed, asked of a history that the program itself made."""

import csv
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Program, as_nobody_special


@pytest.fixture
def tree(program: Program) -> Path:
    """Four runs: as written, changed in three ways, changed back in part, and with a file in a new folder."""
    root = program.folder / "tree"
    for path, size in {"a/one.md": 1, "a/two.md": 2, "b/c/three.md": 3, "top.md": 4}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(bytes(size))
        os.utime(root / path, ns=(10**18, 10**18))
    program.out("schedule", root, "--cron", "0 0 1 1 *", "--strategy", "sequential")
    program.out("run", "tree")
    (root / "a" / "one.md").unlink()
    (root / "a" / "two.md").write_bytes(bytes(20))
    (root / "b" / "four.md").write_bytes(bytes(5))
    program.out("run", "tree")
    (root / "a" / "two.md").write_bytes(bytes(2))
    os.utime(root / "a" / "two.md", ns=(10**18, 10**18))
    (root / "a" / "one.md").write_bytes(bytes(7))
    program.out("run", "tree")
    (root / "new").mkdir()
    (root / "new" / "five.md").write_bytes(bytes(6))
    program.out("run", "tree")
    return root


def kinds(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(record["kind"], record["path"]) for record in records]


def test_paths_that_end_with_nul_are_those_of_find(program: Program) -> None:
    root = program.folder / "odd"
    for path in (b"a/z.md", b"a/b/c.md", b"a-b/x.md", b"a.md", b"new\nline/\xe9 .md", b"=1+1/\\n.md", b"deep/er/est/x"):
        file = Path(os.fsdecode(os.path.join(os.fsencode(root), path)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    program.out("schedule", root, "--pattern", "*", "--cron", "0 0 1 1 *", "--strategy", "sequential")
    program.out("run", "odd")
    for directory in (root, root / "a"):
        find = subprocess.run(["find", directory, "-type", "f", "-print0"], check=True, stdout=subprocess.PIPE).stdout
        listed = program.quick("files", "odd", "-0", "--under", directory).stdout
        # As find has them, but in an order that does not change.
        assert sorted(find.split(b"\0")) == sorted(listed.split(b"\0"))
        assert listed.split(b"\0")[:-1] == sorted(find.split(b"\0")[:-1], key=lambda path: path.rpartition(b"/")[::2])
    every = [change["path"] for change in program.json("changes", "odd")]
    assert every == sorted(every) == sorted(file["path"] for file in program.json("files", "odd"))


@pytest.mark.usefixtures("tree")
def test_changes_are_those_between_two_runs_by_default_the_last(program: Program) -> None:
    assert [("added", "new/five.md")] == kinds(program.json("changes", "tree"))
    second = [("removed", "a/one.md"), ("modified", "a/two.md"), ("added", "b/four.md")]
    assert second == kinds(program.json("changes", "tree", "--from", "1", "--to", "2"))
    # Between the first and the third two.md was changed and changed back.
    third = [("modified", "a/one.md"), ("added", "b/four.md")]
    assert third == kinds(program.json("changes", "tree", "--from", "1", "--to", "3"))
    assert [] == program.json("changes", "tree", "--from", "2", "--to", "2")
    assert [("modified", "a/one.md")] == kinds(program.json("changes", "tree", "--from", "1", "--under", "a"))


@pytest.mark.usefixtures("tree")
def test_changes_between_two_instants_are_those_of_the_runs_saved_by_then(program: Program) -> None:
    times = {run["run"]: run["finished_at"] for run in program.json("history")}
    assert kinds(program.json("changes", "tree", "--from", "1", "--to", "3")) == kinds(
        program.json("changes", "tree", "--since", times[1], "--until", times[3])
    )
    done = program.quick("changes", "tree", "--since", "30d", "--until", times[2], "--format", "json")
    # Before the first run nothing was known, so that all it found is new.
    found = ["a/two.md", "b/c/three.md", "b/four.md", "top.md"]
    assert [("added", path) for path in found] == kinds(json.loads(done.stdout))
    said = f"note: the history begins with run 1, at {times[1]}; everything that it found counts as added\n"
    assert said == done.stderr.decode()


def test_the_changes_of_the_first_run_are_the_same_however_they_are_asked_for(program: Program) -> None:
    (program.folder / "one").mkdir()
    (program.folder / "one/a.md").touch()
    program.out("run", "./one")
    shown = program.json("show", "1")["changes"]
    assert [("added", "a.md")] == kinds(shown)
    for flags in ((), ("--since", "30d"), ("--to", "1"), ("--since", "30d", "--to", "1")):
        assert shown == program.json("changes", "one", *flags), flags
    counted = [program.json("changes", "one", *flags, "--by-folder") for flags in ((), ("--since", "30d"))]
    assert counted[0] == counted[1]
    assert [] == program.json("changes", "one", "--from", "1")


@pytest.mark.usefixtures("tree")
def test_changes_since_before_a_history_that_was_pruned_begin_with_what_is_left(program: Program) -> None:
    program.out("prune", "--keep", "2")
    third = [("added", "a/one.md"), ("modified", "a/two.md")]
    assert third == kinds(program.json("show", "3")["changes"]) == kinds(program.json("changes", "tree", "--to", "3"))
    assert [*third, ("added", "new/five.md")] == kinds(program.json("changes", "tree", "--since", "30d"))


@pytest.mark.usefixtures("tree")
def test_answers_say_that_older_runs_were_deleted(program: Program) -> None:
    program.out("run", "tree")
    times = {run["run"]: run["finished_at"] for run in program.json("history")}
    program.out("prune", "--keep", "1")
    done = program.quick("changes", "tree", "--since", "30d")
    left = f"older runs were deleted, and the history begins with run 5, at {times[5]}"
    assert f"note: {left}; the changes of that run are the first ones\n" == done.stderr.decode()
    assert b"no changes\n" == done.stdout
    for asked in (("files", "tree", "--at"), ("changes", "tree", "--until")):
        assert f"runner: {left}; ask for it or for a later one\n" == program.refused(*asked, times[2])
    assert "runner: there is no run 3: it was deleted; see `runner history`\n" == program.refused("show", "3")
    assert "runner: there is no run 6; see `runner history`\n" == program.refused("show", "6")


@pytest.mark.usefixtures("tree")
def test_a_change_of_what_is_looked_for_is_told(program: Program) -> None:
    program.out("edit", "tree", "--pattern", "*.txt")
    program.out("run", "tree")
    done = program.quick("changes", "tree")
    assert b"note: the job had other patterns or options in between" in done.stderr
    assert done.stdout.count(b".md\n") == 6


@pytest.mark.usefixtures("tree")
def test_folders_are_counted_at_any_depth_now_and_then(program: Program) -> None:
    def counted(*arguments: str) -> list[tuple[str, int, int]]:
        records = program.json("files", "tree", "--by-folder", *arguments)
        return [(record["path"], record["files"], record["size_bytes"]) for record in records]

    assert [("", 1, 4), ("a", 2, 9), ("b", 2, 8), ("new", 1, 6)] == counted()
    assert [("", 1, 4), ("a", 2, 3), ("b", 1, 3)] == counted("--run", "1")
    assert [("", 1, 4), ("a", 2, 9), ("b", 1, 5), ("b/c", 1, 3), ("new", 1, 6)] == counted("--depth", "2")
    assert [("b", 1, 5), ("b/c", 1, 3)] == counted("--under", "b")
    assert [("", 6, 27)] == counted("--depth", "0")
    assert " 6  27 B  all" in program.out("files", "tree", "--by-folder")


@pytest.mark.usefixtures("tree")
def test_it_is_told_how_folders_moved(program: Program) -> None:
    records = program.json("changes", "tree", "--by-folder", "--from", "1", "--to", "2")
    moved = [list(record.values())[:-1] for record in records]
    assert [["a", 2, 1, 3, 20, 0, 1, 1], ["b", 1, 2, 3, 8, 1, 0, 0]] == moved
    table = program.out("changes", "tree", "--by-folder", "--from", "1", "--to", "2")
    assert "−1 ~1" in table
    assert "no changes" in program.out("changes", "tree", "--by-folder", "--from", "4", "--to", "4")


def test_a_file_has_a_life(program: Program, tree: Path) -> None:
    life = program.json("files", "tree", "--path", "a/one.md", "--history")
    assert [(1, 2, 1), (3, None, 7)] == [(one["first_run"], one["gone_run"], one["size_bytes"]) for one in life]
    times = {run["run"]: run["finished_at"] for run in program.json("history")}
    assert [(times[1], times[2]), (times[3], None)] == [(one["seen_at"], one["gone_at"]) for one in life]
    lines = program.out("files", "tree", "--path", str(tree / "a" / "one.md"), "--history").splitlines()
    assert ["added", "removed", "added"] == [line.split()[1] for line in lines[1:]]
    two = program.out("files", "tree", "--path", "a/two.md", "--history").splitlines()
    assert ["added", "modified", "modified"] == [line.split()[1] for line in two[1:]]


def test_a_file_has_a_life_by_the_name_that_is_shown(program: Program) -> None:
    root = program.folder / "odd"
    root.mkdir()
    for name in (b"caf\xe9.md", b"a\\b.md", b"a\nb.md"):
        (root / os.fsdecode(name)).touch()
    program.out("run", "./odd")
    shown = [record["path"] for record in csv.DictReader(io.StringIO(program.out("files", "odd", "--format", "csv")))]
    assert {"caf\\xe9.md", "a\\\\b.md", "a\\nb.md"} == set(shown)
    for path in (*shown, "a\\b.md", b"caf\xe9.md"):
        assert 1 == len(program.json("files", "odd", "--history", "--path", path)), path
    for wrong in ("b\\xe9.md", "\\ud800.md", "\\U00110000.md", "\\x00"):
        program.refused("files", "odd", "--history", "--path", wrong)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("changes tree --since 2099-01-01", "lies in the future"),
        ("changes tree --until 2000-01-01", "has no saved run before 2000-01-01; its first is run 1"),
        ("changes tree --from 3 --to 2", "run 3 comes after run 2; exchange them"),
        ("changes tree --since 1s --until 2s", "--since lies after --until; exchange them"),
        ("changes tree --from 3 --until {2}", "run 3 comes after --until {2}; exchange them"),
        ("changes tree --since {3} --to 2", "--since {3} comes after run 2; exchange them"),
        ("changes tree --from 99", "there is no run 99"),
        ("changes tree --from 5", "is one of the job 'other'"),
        ("changes tree --from 1 --since 1d", "exclude each other"),
        ("changes tree --under nowhere", "nothing was ever found in a directory 'nowhere'"),
        ("changes tree --under ../etc", "lies outside"),
        ("changes other", None),
        ("files tree --run 5", "is one of the job 'other'"),
        ("files tree --at 2099-01-01", "lies in the future"),
        ("files tree --path a/never.md --history", "no file 'a/never.md' was ever found"),
        ("files tree --path a/one.md", "--path and --history go together"),
        ("files tree --history", "--path and --history go together"),
        ("files tree --path a/one.md --history --run 1", "leave out the other options"),
        ("files tree -0 --by-folder", "-0 lists paths alone"),
        ("files tree --under ''", "the path is empty"),
        ("files tree --depth -1", "depth"),
    ],
)
def test_what_can_not_be_meant_is_said_in_one_line(program: Program, arguments: str, said: str | None) -> None:
    (program.folder / "other").mkdir()
    program.out("run", "./other")
    times = ["", *(run["finished_at"] for run in reversed(program.json("history")))]
    words = [word.strip("'") for word in arguments.format(*times).split()]
    if said is None:
        program.out(*words)
    else:
        assert said.format(*times) in program.refused(*words)


def test_files_that_a_run_could_not_look_at_are_marked(program: Program, tree: Path) -> None:
    (tree / "b").chmod(0)
    assert 0 == as_nobody_special(program, "run", "tree").returncode
    (tree / "b").chmod(0o755)
    program.out("run", "tree")
    *_, partial, last = [run["run"] for run in reversed(program.json("history"))]
    for run, unknown in ((partial - 1, set()), (partial, {"b/c/three.md", "b/four.md"}), (last, set())):
        asked = ("files", "tree", "--run", str(run))
        assert unknown == {file["path"] for file in program.json(*asked) if file["unknown"]}
        done = program.quick(*asked)
        lines = [line.split() for line in done.stdout.decode().splitlines()]
        assert unknown == {line[-1] for line in lines if "?" in line}
        assert bool(unknown) is (f"run {run} could not read 1 path,".encode() in done.stderr)
        assert bool(unknown) is (b"counted" in program.quick(*asked, "--by-folder").stderr)
        assert bool(unknown) is (b"listed as they were last known" in program.quick(*asked, "-0").stderr)
        told = program.quick("changes", "tree", "--to", str(run)).stderr
        assert bool(unknown) is (f"run {run} could not read 1 path,".encode() in told)


def test_that_the_last_run_has_saved_nothing_is_told(program: Program, tree: Path) -> None:
    program.out("run", "tree")
    saved = program.json("history")[0]["run"]
    for command in ("files", "changes"):
        assert b"" == program.quick(command, "tree").stderr
    tree.rename(tree.with_name("elsewhere"))
    assert 1 == program.quick("run", "tree").returncode

    note = f"note: run {saved + 1} has failed, so this is what run {saved} has left\n".encode()
    for asked in (["files", "tree"], ["files", "tree", "-0"], ["changes", "tree"], ["files", "tree", "--by-folder"]):
        assert (0, note) == ((done := program.quick(*asked)).returncode, done.stderr), asked
    for asked in (["files", "tree", "--run", str(saved)], ["changes", "tree", "--to", str(saved)]):
        assert (0, b"") == ((done := program.quick(*asked)).returncode, done.stderr), asked
