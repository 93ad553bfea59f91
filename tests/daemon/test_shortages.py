"""Shortages of the disk: each is named, costs nothing that was kept, and a service is started again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Program, until


@pytest.fixture
def small(program: Program, tree: Path) -> Iterator[Path]:
    """Give a file system of its own, with few bytes or few inodes, and a history on it."""
    where = program.folder / "disk"
    where.mkdir()
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=40", "tmpfs", where]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        program.environment["RUNNER_DB"] = str(where / "runner.db")
        program.out("schedule", tree, "--name", "docs", "--every", "1s")
        program.out("run", "docs")
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


def without_inodes(disk: Path) -> None:
    with suppress(OSError):
        for number in range(1_000):
            (disk / f"filler-{number}").touch()
    assert not os.statvfs(disk).f_favail


def without_bytes(disk: Path) -> None:
    with suppress(OSError), (disk / "filler-0").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert not os.statvfs(disk).f_bavail


SHORTAGES = {
    "no inodes left": without_inodes,
    "the disk is full": without_bytes,
}


@pytest.mark.parametrize("shortage", SHORTAGES)
def test_a_shortage_at_start_is_logged_and_survived(program: Program, small: Path, shortage: str) -> None:
    SHORTAGES[shortage](small)
    for command in (["daemon"], ["run", "docs"], ["edit", "docs", "--workers", "3"]):
        refused = program.call(*command)
        err = refused.stderr.decode()
        assert (1, 1) == (refused.returncode, err.count("\n")), err
        assert shortage in err, err
    for file in small.glob("filler-*"):
        file.unlink()
    runs = len(program.json("history"))
    with program.daemon():
        until(lambda: len(program.json("history")) > runs, "a firing")
    assert 0 == program.quick("db", "check").returncode


def test_a_backup_without_space_exits_with_1(program: Program, small: Path) -> None:
    without_inodes(small)
    for target in (small / "copy.db",):
        program.environment["RUNNER_DB"] = str(program.folder / "other.db")
        program.out("db", "upgrade")
        refused = program.quick("db", "backup", target)
        assert 1 == refused.returncode, refused.stderr


def test_a_sample_without_inodes_exits_with_1(program: Program, small: Path) -> None:
    without_inodes(small)
    assert "No space left on device" in program.refused("sample", small / "tree", code=1)


def test_a_full_metrics_directory_does_not_end_the_daemon(program: Program, small: Path) -> None:
    program.environment["RUNNER_DB"] = str(program.folder / "other.db")
    program.out("db", "upgrade")
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    refused = program.call("daemon", "--metrics-file", small / "m.prom")
    said = refused.stderr.decode()
    assert (1, 1) == (refused.returncode, said.count("\n")), said  # 2 would keep systemd from starting it again
    assert "read-only" in said
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    without_bytes(small)
    with program.daemon("--metrics-file", small / "m.prom") as daemon:
        until(lambda: "can't be written: No space left" in daemon.said(), "that it can't be written")
        (small / "filler-0").unlink()
        until((small / "m.prom").exists, "the metrics")


def test_a_read_only_file_system_exits_with_1(program: Program, small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    refused = program.call("daemon", "--db", small / "new.db")
    assert (1, True) == (refused.returncode, b"read-only" in refused.stderr), refused.stderr
