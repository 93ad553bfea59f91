import os
import subprocess
from pathlib import Path

import pytest

from runner.scan import filesystems
from runner.scan.filesystems import devices_counting_subdirectories, find_filesystem, read_mount_table

TABLE = b"""22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /mnt/with\\040space\\011tab\\012line\\134back rw - btrfs /dev/sdb rw
24 22 0:21 / /mnt/carriage\rreturn rw shared:2 master:1 - tmpfs none rw
25 22 0:22 / /mnt rw - nfs4 host:/export rw
"""


def test_a_mount_point_of_any_name_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_bytes(TABLE)
    monkeypatch.setattr(filesystems, "_MOUNT_TABLE", tmp_path / "mountinfo")
    assert [
        (os.makedev(8, 1), b"/", "ext4"),
        (os.makedev(0, 20), b"/mnt/with space\ttab\nline\\back", "btrfs"),
        (os.makedev(0, 21), b"/mnt/carriage\rreturn", "tmpfs"),
        (os.makedev(0, 22), b"/mnt", "nfs4"),
    ] == read_mount_table()
    assert frozenset({os.makedev(8, 1), os.makedev(0, 21)}) == devices_counting_subdirectories()


def test_without_a_mount_table_nothing_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "_MOUNT_TABLE", tmp_path / "none")
    assert ([], frozenset(), "") == (read_mount_table(), devices_counting_subdirectories(), find_filesystem(b"/"))


@pytest.mark.parametrize("path", ["/proc", "/dev/shm", "/"])  # noqa: S108  a mount of its own
def test_the_type_is_the_one_that_findmnt_tells(path: str) -> None:
    reported = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", path], check=True, capture_output=True, text=True)
    assert reported.stdout.split()[-1] == find_filesystem(path.encode())


def test_an_unlisted_device_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_bytes(
        b"1 0 0:9998 / / rw - ext4 a rw\n2 1 0:9999 / " + os.fsencode(tmp_path) + b" rw - btrfs b rw\n"
    )
    monkeypatch.setattr(filesystems, "_MOUNT_TABLE", tmp_path / "mountinfo")
    (tmp_path / "below").mkdir()
    assert ("btrfs", "ext4") == (find_filesystem(os.fsencode(tmp_path / "below")), find_filesystem(b"/"))


def test_a_missing_path_has_no_type(tmp_path: Path) -> None:
    assert "" == find_filesystem(os.fsencode(tmp_path / "missing"))
