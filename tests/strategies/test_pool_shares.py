import os
from multiprocessing import get_context
from pathlib import Path

import pytest

from runner.model.errors import ScanError
from runner.model.jobs import Selection
from runner.scan.part import decode
from runner.strategies import pool
from runner.strategies.base import ScanRequest
from runner.strategies.pool import Pool


def test_a_worker_that_finds_another_root_ends_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_assignment", "_identity", "_hungry", "_walker", "_began_at"):
        monkeypatch.setattr(pool, name, getattr(pool, name))
    pool._prepare(os.fsencode(tmp_path), Selection(), (0, 0), get_context("fork").Semaphore(0))
    with pytest.raises(ScanError, match="was replaced while it was scanned"):
        pool._read_share(b"")


@pytest.mark.parametrize("limit", ["_TASK_WORK", "_LEAST_WORK"])
@pytest.mark.parametrize("work", [1, 60, 400])
def test_folders_handed_back_by_a_worker_are_shared_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, work: int
) -> None:
    expected = [b""]
    for number in range(20):
        for path in (f"{number}", f"{number}/a", f"{number}/a/b", f"{number}/c"):
            (tmp_path / path).mkdir()
            expected.append(path.encode())
    # A forked worker has what is set here.
    monkeypatch.setattr(pool, limit, work)

    scan = Pool().scan(
        ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=2, start_method="fork"), lambda *_: None
    )
    scan.end()

    parts = list(map(decode, scan.found.parts))
    assert sorted(expected) == sorted(part.path(number) for part in parts for number in range(len(part.names)))
