"""Mount points at and below a root that are plain directories when the next run comes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Program

from runner.execution.executor import fire
from runner.history.contents import list_files, list_problems
from runner.history.database import Database
from runner.history.jobs import add_job, change_job
from runner.history.runs import get_run
from runner.model.jobs import Job, JobSpec, Selection
from runner.model.runs import Run, Status
from runner.scan import filesystems
from runner.scan.match import PlainSelection
from runner.scan.mounts import check_mounts, list_mounts
from runner.strategies.base import ScanRequest
from runner.strategies.sequential import Sequential
from tests.benchmarks.snapshots import scanned

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MESSAGE = "is no longer a mount point; mount it, or accept that with `runner run JOB --accept-unmounted`"
Mount = Callable[[Path], None]


@pytest.fixture(params=["tmpfs", "bind"])
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mount]:
    """Return what mounts two markdown files on a directory: on a file system of their own, or on the same one."""
    with mounting(str(request.param), tmp_path / "source") as mount:
        yield mount


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Mount]:
    with mounting("tmpfs", tmp_path / "source") as mount:
        yield mount


@contextmanager
def mounting(how: str, source: Path) -> Iterator[Mount]:
    mounted: list[Path] = []
    source.mkdir(exist_ok=True)

    def do(where: Path) -> None:
        options: list[str | Path] = ["-t", "tmpfs", "tmpfs"] if how == "tmpfs" else ["--bind", source]
        done = subprocess.run(["mount", *options, where], check=False, capture_output=True)
        if os.geteuid() != 0 or done.returncode:
            pytest.skip("mounting is not permitted here")
        mounted.append(where)
        (where / "deep").mkdir(exist_ok=True)
        for name in ("one.md", "deep/two.md"):
            (where / name).write_text(name)
            os.utime(where / name, (1, 1))

    yield do
    for where in reversed(mounted):
        subprocess.run(["umount", "--lazy", where], check=False, capture_output=True)


def ignore(_directories: int, _entries: int, _files: int) -> None:
    """Receive progress."""


@pytest.fixture(params=["sequential", "pool", "incremental"])
def strategies(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return (str(request.param),)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a tree with a mount point in which a file lies that the mount hides."""
    root = tmp_path / "tree"
    (root / "data/mnt").mkdir(parents=True)
    (root / "data/mnt/below.md").touch()
    (root / "data/mnt2").mkdir()
    (root / "data/mnt2/beside.md").touch()
    (root / "plain.md").touch()
    return root


@pytest.fixture
def job(database: Database, root: Path, strategies: tuple[str, ...]) -> Job:
    return add_job(database, JobSpec(name="docs", root=os.fsencode(root), workers=2, strategies=strategies), NOW)


def unmount(where: Path) -> None:
    subprocess.run(["umount", "--lazy", where], check=True)


def run(database: Database, job: Job, *, accept_unmounted: bool = False) -> Run:
    return get_run(database, fire(database, job, accept_unmounted=accept_unmounted))


def counts(run: Run) -> tuple[Status, int | None, int | None, int | None, int | None]:
    return run.status, run.files, run.added, run.removed, run.problems


def unknown(database: Database, run: Run) -> dict[bytes, bool]:
    return {file.path: file.unknown for file in list_files(database, run.job_id, run.run_id)}


def test_files_of_a_vanished_mount_are_unknown_until_it_is_back(
    database: Database, job: Job, root: Path, mount: Mount
) -> None:
    mount(root / "data/mnt")
    assert (Status.SUCCEEDED, 4, 4, 0, 0) == counts(run(database, job))
    unmount(root / "data/mnt")
    (root / "new.md").touch()
    for added in (1, 0, 0):
        gone = run(database, job)
        assert (Status.PARTIAL, 3, added, 0, 1) == counts(gone)
        assert [(b"data/mnt", MESSAGE)] == [(one.path, one.text) for one in list_problems(database, gone)]
        expected = {b"data/mnt/deep/two.md": True, b"data/mnt/one.md": True, b"data/mnt2/beside.md": False}
        assert expected | {b"new.md": False, b"plain.md": False} == unknown(database, gone)
    mount(root / "data/mnt")
    assert (Status.SUCCEEDED, 5, 0, 0, 0) == counts(run(database, job))
    unmount(root / "data/mnt")
    assert (Status.PARTIAL, 3, 0, 0, 1) == counts(run(database, job))


def test_a_vanished_mount_can_be_accepted(database: Database, job: Job, root: Path, mount: Mount) -> None:
    mount(root / "data/mnt")
    run(database, job)
    unmount(root / "data/mnt")
    assert (Status.PARTIAL, 2, 0, 0, 1) == counts(run(database, job))
    assert (Status.SUCCEEDED, 3, 1, 2, 0) == counts(run(database, job, accept_unmounted=True))
    assert (Status.SUCCEEDED, 3, 0, 0, 0) == counts(run(database, job))


def test_a_mount_point_removed_with_its_mount_is_a_problem(
    database: Database, job: Job, root: Path, mount: Mount
) -> None:
    mount(root / "data/mnt")
    run(database, job)
    unmount(root / "data/mnt")
    (root / "data/mnt").rename(root.with_name("elsewhere"))
    assert (Status.PARTIAL, 2, 0, 0, 1) == counts(run(database, job))
    assert (Status.SUCCEEDED, 2, 0, 2, 0) == counts(run(database, job, accept_unmounted=True))


def test_a_root_whose_mount_vanished_keeps_its_files(database: Database, job: Job, root: Path, mount: Mount) -> None:
    mount(root)
    assert (Status.SUCCEEDED, 2, 2, 0, 0) == counts(run(database, job))
    unmount(root)
    gone = run(database, job)
    assert (Status.PARTIAL, 0, 0, 0, 1) == counts(gone)
    assert [b""] == [one.path for one in list_problems(database, gone)]
    assert {b"deep/two.md": True, b"one.md": True} == unknown(database, gone)


def test_a_mount_within_a_vanished_one_is_remembered(database: Database, job: Job, root: Path, mount: Mount) -> None:
    mount(root / "data")
    (root / "data/mnt").mkdir(exist_ok=True)
    mount(root / "data/mnt")
    run(database, job)
    unmount(root / "data/mnt")
    unmount(root / "data")
    assert (Status.PARTIAL, 1, 0, 0, 1) == counts(run(database, job))
    mount(root / "data")
    (root / "data/mnt").mkdir(exist_ok=True)
    (root / "data/mnt/one.md").unlink(missing_ok=True)
    gone = run(database, job)
    assert (Status.PARTIAL, 0, 1) == (gone.status, gone.removed, gone.problems)
    assert [b"data/mnt"] == [one.path for one in list_problems(database, gone)]


@pytest.mark.parametrize("selection", [Selection(excludes=("mnt/",)), Selection(excludes=("/data/mnt",))])
def test_an_excluded_mount_is_no_problem(
    database: Database, job: Job, root: Path, mount: Mount, selection: Selection
) -> None:
    mount(root / "data/mnt")
    run(database, job)
    unmount(root / "data/mnt")
    job = change_job(database, job, replace(job.spec, selection=selection), NOW)
    assert (Status.SUCCEEDED, 2, 0, 2, 0) == counts(run(database, job))
    mount(root / "data/mnt")
    run(database, job)
    unmount(root / "data/mnt")
    assert (Status.SUCCEEDED, 2, 0, 0, 0) == counts(run(database, job))


def test_another_root_has_other_mounts(database: Database, job: Job, root: Path, mount: Mount) -> None:
    mount(root / "data/mnt")
    run(database, job)
    other = root.with_name("other")
    (other / "data/mnt").mkdir(parents=True)
    job = change_job(database, job, replace(job.spec, root=os.fsencode(other)), NOW)
    assert (Status.SUCCEEDED, 0, 0, 4, 0) == counts(run(database, job))


def test_a_root_link_is_compared_by_its_target(database: Database, job: Job, root: Path, mount: Mount) -> None:
    link = root.with_name("link")
    link.symlink_to(root)
    job = change_job(database, job, replace(job.spec, root=os.fsencode(link)), NOW)
    mount(root / "data/mnt")
    run(database, job)
    unmount(root / "data/mnt")
    assert (Status.PARTIAL, 2, 0, 0, 1) == counts(run(database, job))


def test_a_run_without_snapshot_keeps_the_mounts(database: Database, job: Job, root: Path, mount: Mount) -> None:
    mount(root / "data/mnt")
    run(database, job)
    unmount(root / "data/mnt")
    root.rename(root.with_name("away"))
    assert Status.FAILED is run(database, job, accept_unmounted=True).status
    root.with_name("away").rename(root)
    assert (Status.PARTIAL, 2, 0, 0, 1) == counts(run(database, job))


def test_show_displays_a_vanished_mount_and_run_accepts_it(
    place: str, tmp_path: Path, root: Path, mount: Mount
) -> None:
    program = Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": place})
    mount(root / "data/mnt")
    program.out("run", "./tree")
    unmount(root / "data/mnt")
    assert f"1 not read: data/mnt: {MESSAGE}" in " ".join(program.out("run", "tree").split())
    program.environment["COLUMNS"] = "200"
    assert MESSAGE in program.call("show", "2").stdout.decode()
    assert [{"path": "data/mnt", "text": MESSAGE}] == [
        {key: one[key] for key in ("path", "text")} for one in program.json("show", "2")["problems"]
    ]
    assert [] == program.json("changes", "tree")
    assert "0 added, 0 removed" in program.out("run", "tree")
    assert "1 added, 2 removed" in program.out("run", "tree", "--accept-unmounted")


def test_mounts_left_out_by_one_file_system_are_no_problem(
    database: Database, job: Job, root: Path, tmpfs: Mount
) -> None:
    job = change_job(database, job, replace(job.spec, selection=Selection(one_file_system=True)), NOW)
    tmpfs(root / "data/mnt")
    assert (Status.SUCCEEDED, 2, 2, 0, 0) == counts(run(database, job))
    unmount(root / "data/mnt")
    assert (Status.SUCCEEDED, 3, 1, 0, 0) == counts(run(database, job))


def test_a_mount_seen_only_before_or_after_a_scan_is_a_problem(root: Path, tmpfs: Mount) -> None:
    tmpfs(root / "data/mnt")
    place, selection = os.fsencode(root), PlainSelection(Selection())
    there = list_mounts(place, selection)
    assert frozenset({b"data/mnt"}) == there
    for before, mounted in ((there, False), (frozenset[bytes](), True), (frozenset[bytes](), False)):
        if not mounted:
            unmount(root / "data/mnt")
        request = ScanRequest(root=place, selection=selection, workers=1, start_method="fork")
        found, _ = scanned(Sequential(), request)
        check_mounts(found, place, selection, [b"data/mnt"], before)
        assert [b"data/mnt"] == [path for path, _, _ in found.problems]
        assert (b"data/mnt",) == found.mounts
        if not mounted:
            tmpfs(root / "data/mnt")


def test_without_a_mount_table_nothing_is_compared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "_MOUNT_TABLE", root / "missing")
    place, selection = os.fsencode(root), PlainSelection(Selection())
    found, _ = scanned(Sequential(), ScanRequest(root=place, selection=selection, workers=1, start_method="fork"))
    check_mounts(found, place, selection, [b"data/mnt"], list_mounts(place, selection))
    assert ([], (b"data/mnt",)) == (found.problems, found.mounts)
