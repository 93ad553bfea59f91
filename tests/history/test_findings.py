import json
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations, groupby

import pytest
from conftest import MakePlace
from firings import add_not_run
from history_examples import NOW, begin, count_rows, listing, opened, play, snapshot, some_job
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runner.history.contents import (
    count_changes,
    count_directories,
    has_directory,
    list_changes,
    list_files,
    list_names,
    list_problems,
    list_versions,
)
from runner.history.database import Database
from runner.history.maintenance import find_faults
from runner.history.rollup import cut, roll_up
from runner.history.runs import get_run
from runner.model.jobs import Job
from runner.model.runs import Change, ChangeKind, FoundFile, Problem, Run, Status
from runner.scan.snapshot import Snapshot
from tests.benchmarks.consistency import answer

DIRECTORIES = (b"", b"a", b"a/b", b"a/b/\xff\n", b"a-b", b"c")
NAMES = (b"x.md", b"\xfe\n\x1b.md", b"y.txt")
PLACES = [(directory, name) for directory in DIRECTORIES for name in NAMES]

Stats = tuple[int | None, int | None]
LARGEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Step:
    """Changes of one of two trees, and the options of the next run of its job."""

    tree: int
    edits: dict[tuple[bytes, bytes], tuple[int, int] | None]
    vanished: frozenset[bytes]
    unreadable: frozenset[bytes]
    blind: frozenset[tuple[bytes, bytes]]
    names_only: bool
    markdown_only: bool
    outcome: str


STATS = st.tuples(st.integers(0, 2), st.integers(-1, 1))
STEPS = st.builds(
    Step,
    tree=st.sampled_from([0, 0, 0, 1]),
    edits=st.dictionaries(st.sampled_from(PLACES), st.none() | STATS, max_size=6),
    vanished=st.frozensets(st.sampled_from(DIRECTORIES[1:]), max_size=2),
    unreadable=st.frozensets(st.sampled_from(DIRECTORIES), max_size=2),
    blind=st.frozensets(st.sampled_from(PLACES), max_size=2),
    names_only=st.sampled_from([False, False, False, True]),
    markdown_only=st.sampled_from([False, False, True]),
    outcome=st.sampled_from(["saved", "saved", "saved", "saved", "failed", "missed"]),
)


@dataclass
class Tree:
    """A tree, and the findings that its job should have saved."""

    files: dict[tuple[bytes, bytes], tuple[int, int]] = field(default_factory=dict)
    known: dict[tuple[bytes, bytes], tuple[Stats, int]] = field(default_factory=dict)
    problems: frozenset[bytes] = frozenset()


def within(path: bytes, directories: frozenset[bytes]) -> bool:
    return b"" in directories or any(
        path == directory or path.startswith(directory + b"/") for directory in directories
    )


def look(tree: Tree, step: Step) -> Snapshot:
    """Return the snapshot that a scan of the tree would find."""
    there = [directory for directory in DIRECTORIES if not within(directory, step.vanished)]
    unreadable = frozenset(directory for directory in there if directory in step.unreadable)
    reported = [one for one in unreadable if not within(one.rpartition(b"/")[0], unreadable - {one})]
    listings, blind = [], []
    for directory in there:
        if within(directory, unreadable):
            continue
        found = {}
        for name in NAMES:
            stat = tree.files.get((directory, name))
            if stat is not None and (not step.markdown_only or name.endswith(b".md")):
                found[name] = None if (directory, name) in step.blind else stat
        if not step.names_only:
            blind += [directory + b"/" + name if directory else name for name, stat in found.items() if stat is None]
        listings.append(listing(directory, list(found) if step.names_only else found))
    return snapshot(*listings, unreadable=[*reported, *blind])


def learn(tree: Tree, found: Snapshot, run_id: int, step: Step) -> list[Change]:
    """Update what is known of the tree; return the changes."""
    before = known_files(tree)
    tree.problems = frozenset(path for path, _, _ in found.problems)
    seen = {path: names.split(b"\0") for path, names, _ in found.findings()}
    for directory, name in PLACES:
        place = (directory, name)
        if name in seen.get(directory, []):
            hidden = step.names_only or place in step.blind
            now: Stats = (None, None) if hidden else tree.files[place]
            if place not in tree.known or now not in ((None, None), tree.known[place][0]):
                tree.known[place] = (now, run_id)
        elif directory in seen or not within(directory, tree.problems):
            tree.known.pop(place, None)
    return differences(before, known_files(tree))


def known_files(tree: Tree) -> list[FoundFile]:
    files = []
    for (directory, name), (stat, first_run) in sorted(tree.known.items()):
        path = directory + b"/" + name if directory else name
        unknown = within(path, tree.problems)
        size_bytes, mtime_ns = stat
        files.append(
            FoundFile(path=path, size_bytes=size_bytes, mtime_ns=mtime_ns, first_run=first_run, unknown=unknown)
        )
    return files


def differences(old: list[FoundFile], new: list[FoundFile]) -> list[Change]:
    before, after = ({one.path: one for one in files} for files in (old, new))
    changes = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        kind = ChangeKind.MODIFIED
        if was is None:
            kind = ChangeKind.ADDED
        elif now is None:
            kind = ChangeKind.REMOVED
        elif None in {was.mtime_ns, now.mtime_ns} or (was.size_bytes, was.mtime_ns) == (now.size_bytes, now.mtime_ns):
            continue
        old_size, new_size = (None if one is None else one.size_bytes for one in (was, now))
        changes.append(Change(kind=kind, path=path, old_size_bytes=old_size, new_size_bytes=new_size))
    return changes


def act(database: Database, job: Job, tree: Tree, step: Step) -> tuple[int, list[Change]]:
    """Execute a step and check its counts; return the run and the expected changes."""
    for place, stat in step.edits.items():
        if stat is None:
            tree.files.pop(place, None)
        else:
            tree.files[place] = stat
    if step.outcome == "missed":
        run_id = add_not_run(database, job, Status.MISSED, NOW, now=NOW, message="m", missed=1)
        return run_id, []
    if step.outcome == "failed":
        return play(database, job, None).run_id, []
    known, problems = dict(tree.known), tree.problems
    rows = count_rows(database, "files", "folders", "problems")
    found = look(tree, step)
    run = play(database, job, found)
    changes = learn(tree, found, run.run_id, step)
    kinds = Counter(change.kind for change in changes)
    assert [run.added, run.removed, run.modified] == [
        kinds[kind] for kind in (ChangeKind.ADDED, ChangeKind.REMOVED, ChangeKind.MODIFIED)
    ]
    assert (found.files, found.directories) == (run.files, run.directories)
    if (known, problems) == (tree.known, tree.problems):
        assert rows == count_rows(database, "files", "folders", "problems")
    return run.run_id, changes


# Each example needs a database: shrinking takes minutes.
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
def test_every_run_of_any_history_can_be_rebuilt(make_place: MakePlace, steps: list[Step]) -> None:
    with make_place() as place, opened(place) as database:
        jobs = [some_job(database, "first"), some_job(database, "second")]
        trees = [Tree(), Tree()]
        expected = []
        for step in steps:
            tree = trees[step.tree]
            run_id, changes = act(database, jobs[step.tree], tree, step)
            problems = sorted(tree.problems) if step.outcome == "saved" else []
            expected.append((run_id, known_files(tree), changes, problems))
        for run_id, files, changes, problems in expected:
            run = get_run(database, run_id)
            assert files == list(list_files(database, run.job_id, run.run_id))
            assert changes == list(list_changes(database, run.job_id, run.run_id - 1, run.run_id))
            assert problems == [problem.path for problem in list_problems(database, run)]
        for job in jobs:
            own = [(run_id, files) for run_id, files, *_ in expected if get_run(database, run_id).job_id == job.job_id]
            check_questions(database, job, [(0, []), *own])
        assert [] == find_faults(database)


def check_questions(database: Database, job: Job, states: list[tuple[int, list[FoundFile]]]) -> None:
    """Check every query of a job against its replayed states."""
    for (before, old), (after, new) in combinations(states, 2):
        changes = differences(old, new)
        # As if hardly any row could be held in memory, at every second question.
        with pytest.MonkeyPatch.context() as patch:
            if after % 2:
                patch.setattr("runner.history.contents._MOST_ROWS", 2)
            check_changes(database, job, before, after, changes)
    for run_id, files in states:
        counts = count_directories(database, job.job_id, run_id)
        for depth in range(3):
            rolled = roll_up(counts, depth)
            assert Counter(cut(one.path.rpartition(b"/")[0], depth) for one in files) == {
                count.path: count.files for count in rolled
            }
            assert sum(one.size_bytes or 0 for one in files) == sum(count.size_bytes or 0 for count in rolled)
        for directory in DIRECTORIES[1:]:
            under = [one for one in files if one.path.startswith(directory + b"/")]
            assert under == list(list_files(database, job.job_id, run_id, directory))
            names = list_names(database, job.job_id, run_id, directory)
            assert [one.path for one in under] == [prefix + name for prefix, some in names for name in some]
    for path in {one.path for _, files in states for one in files}:
        life = [
            next(((one.size_bytes, one.mtime_ns, one.first_run) for one in files if one.path == path), None)
            for _, files in states
        ]
        versions = list_versions(database, job.job_id, path)
        assert [state for state, _ in groupby(life) if state] == [
            (version.size_bytes, version.mtime_ns, version.first_run) for version in versions
        ]
        ends = [
            run_id
            for (run_id, _), state, last in zip(states[1:], life[1:], life, strict=False)
            if last and last != state
        ]
        assert ends == [version.gone_run for version in versions if version.gone_run]


def check_changes(database: Database, job: Job, before: int, after: int, changes: list[Change]) -> None:
    """Check every query for the changes between two runs."""
    assert changes == list(list_changes(database, job.job_id, before, after))
    changed = count_changes(database, job.job_id, before, after)
    by_directory = Counter((one.path.rpartition(b"/")[0], one.kind.value) for one in changes)
    assert by_directory == {
        (one.path, kind.value): n for one in changed for kind in ChangeKind if (n := getattr(one, kind.value))
    }
    within = [one.path for one in changed][:2]
    some = [change for change in changes if change.path.rpartition(b"/")[0] in within]
    assert some == list(list_changes(database, job.job_id, before, after, within=within))
    for directory in DIRECTORIES[1:]:
        under = [change for change in changes if change.path.startswith(directory + b"/")]
        assert under == list(list_changes(database, job.job_id, before, after, directory))


def paths_of(database: Database, run: Run) -> list[bytes]:
    return [file.path for file in list_files(database, run.job_id, run.run_id)]


@pytest.mark.parametrize(
    "path",
    [b"caf\xe9.md", b"new\nline.md", b"\x1b]0;x\x07.md", b"n" * 252 + b".md", b"\xff" * 255, b"'\"%s?:x.md", b"."],
)
def test_a_name_is_returned_byte_for_byte(database: Database, path: bytes) -> None:
    stats = (2**62, -(2**62))
    run = play(database, some_job(database), snapshot(listing(b"", {path: stats}), listing(path, [path])))
    found = [(file.path, file.size_bytes, file.mtime_ns) for file in list_files(database, run.job_id, run.run_id)]
    assert [(path, *stats), (path + b"/" + path, None, None)] == found


def test_directories_that_begin_alike_are_told_apart(database: Database) -> None:
    deep = b"d" * 200 + b"/" + b"e" * 100  # longer than an entry of the index
    job = some_job(database)
    for directory in (deep, b"short"):
        paths = (directory, directory + b"-x", directory + b"/f", directory + b"/f/g", directory + b"0")
        run = play(database, job, snapshot(*(listing(path, [b"x.md"]) for path in paths)))
        found = list_files(database, job.job_id, run.run_id, directory)
        assert [path + b"/x.md" for path in (paths[0], *paths[2:4])] == [file.path for file in found]
        assert not has_directory(database, job.job_id, directory[:-1])


def test_a_path_of_20_kb_is_returned(database: Database) -> None:
    job = some_job(database)
    deep = b"/".join([b"\xe9\n" * 100] * 100)
    assert len(deep) > 20_000
    beside = deep[:-1] + b"x"
    found = snapshot(listing(deep, {b"x.md": (1, 2)}), listing(beside, {b"x.md": (3, 4)}), unreadable=[deep + b"/no"])
    run = play(database, job, found)
    assert [deep + b"/x.md", beside + b"/x.md"] == paths_of(database, run)
    assert [deep + b"/x.md", beside + b"/x.md"] == [
        change.path for change in list_changes(database, run.job_id, run.run_id - 1, run.run_id)
    ]
    assert [deep + b"/no"] == [problem.path for problem in list_problems(database, run)]
    again = play(database, job, snapshot(next(found.findings())))
    assert (0, 1) == (again.added, again.removed)


@pytest.mark.parametrize("directories", [3, 700])
def test_many_changed_directories_are_compared_like_few(database: Database, directories: int) -> None:
    job = some_job(database)
    paths = [b"%d" % number for number in range(directories)]
    play(database, job, snapshot(*(listing(path, {b"x": (1, 1), b"y": (1, 1)}) for path in paths)))
    run = play(database, job, snapshot(*(listing(path, {b"y": (1, 2), b"z": (1, 1)}) for path in paths)))
    assert (directories, directories, directories) == (run.added, run.removed, run.modified)
    assert 2 * directories == len(paths_of(database, run))


@pytest.mark.parametrize("count", [1_000, 1_001])
def test_many_changed_files_are_stored_like_few(database: Database, count: int) -> None:
    odd = [b"\\", b"\t", b"\\.", b"\\N", b"\n", b"\xff", b"'"]
    names = [*odd, *(b"%d.md" % number for number in range(count - len(odd)))]
    job = some_job(database)
    first = play(database, job, snapshot(listing(b"a", dict.fromkeys(names, (1, 1))), listing(b"b", {b"x": (1, 1)})))
    second = play(database, job, snapshot(listing(b"a", dict.fromkeys(names, (2, 2))), listing(b"b", {b"x": (1, 1)})))
    assert (0, 0, count) == (second.added, second.removed, second.modified)
    for run, size_bytes in ((first, 1), (second, 2)):
        found = {file.path: file.size_bytes for file in list_files(database, job.job_id, run.run_id)}
        assert {b"b/x": 1} | {b"a/" + name: size_bytes for name in names} == found
    assert [] == find_faults(database)


def test_a_lasting_problem_is_stored_once(database: Database) -> None:
    job = some_job(database)
    runs = [play(database, job, snapshot(listing(b"", []), unreadable=[b"\xff"])) for _ in range(3)]
    assert [1] == count_rows(database, "problems")
    expected = [Problem(path=b"\xff", errno=13, text=os.strerror(13))]
    assert [expected] * 3 == [list_problems(database, run) for run in runs]
    assert [] == list_problems(database, play(database, job, snapshot(listing(b"", []))))


def test_files_are_listed_from_one_state(database: Database) -> None:
    job = some_job(database)
    many = [b"%05d" % number for number in range(25_000)]
    run = play(database, job, snapshot(listing(b"", many)))
    files = list_files(database, run.job_id, run.run_id)
    first = next(files)
    play(database, job, snapshot(listing(b"", [])))
    assert many == [first.path, *(file.path for file in files)]


def test_a_running_run_has_no_changes(database: Database) -> None:
    job = some_job(database)
    play(database, job, snapshot(listing(b"", [b"x"])))
    run = get_run(database, begin(database, job))
    assert [b"x"] == paths_of(database, run)
    assert [] == list(list_changes(database, run.job_id, run.run_id - 1, run.run_id))


@pytest.mark.parametrize("count", [2, 3, 40])
def test_sizes_add_up_beyond_63_bits(database: Database, place: str, count: int) -> None:
    found = {f"{number}.md".encode(): (LARGEST - number, 1) for number in range(count)}
    job = some_job(database)
    play(database, job, snapshot(listing(b"", {b"small.md": (1, 1)})))
    run = play(database, job, snapshot(listing(b"deep", {**found, b"unknown.md": None})))
    [directory] = count_directories(database, run.job_id, run.run_id)
    total = sum(LARGEST - number for number in range(count))
    assert (total, count + 1) == (directory.size_bytes, directory.files)
    for asked in (["files", "docs"], ["changes", "docs"], ["files", "docs", "--by-folder"], ["show", "2"]):
        for form in ("table", "json"):
            code, out, err = json.loads(answer(place, (*asked, "--format", form)))
            assert (0, "") == (code, err), asked
            assert (form == "json" and "--by-folder" in asked) == (str(total) in out)


def test_the_size_of_an_empty_file_is_known(database: Database) -> None:
    found = (listing(b"empty", {b"empty.md": (0, 1)}), listing(b"unknown", {b"unknown.md": None}))
    run = play(database, some_job(database), snapshot(*found))
    sizes = {one.path: one.size_bytes for one in count_directories(database, run.job_id, run.run_id)}
    assert {b"empty": 0, b"unknown": None} == sizes
