"""Modification times beyond what nanoseconds in 64 bits reach, and beyond the calendar, on each kind of database."""

import os
import tempfile
from pathlib import Path

from conftest import Program

SECOND_NS = 10**9
TMPFS = Path("/dev/shm")  # noqa: S108  only there does every time fit
# The years 2300, 1600, 12026 and 30,000 million; tmpfs keeps all of them.
FAR = (10_413_792_000, -11_676_096_000, 317_336_000_000, 946_000_000_000_000_000)
EDGES_NS = (2**63 - 1, 2**63, -(2**63), -(2**63) - 1, -1, 0)


def test_times_are_kept_as_stat_returns_them(place: str, tmp_path: Path) -> None:
    program = Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": place})
    with tempfile.TemporaryDirectory(dir=TMPFS if TMPFS.is_dir() else None) as folder:
        tree = Path(folder) / "docs"
        tree.mkdir()
        times_ns = [*(second * SECOND_NS + 123_456_789 for second in FAR), *EDGES_NS]
        for number, time_ns in enumerate(times_ns):
            file = tree / f"{number}.md"
            file.touch()
            os.utime(file, ns=(time_ns, time_ns))
        strategies = [f"--strategy={name}" for name in ("sequential", "pool", "incremental")]
        program.out("schedule", tree, "--every", "1h", *strategies)
        assert "succeeded" == program.json("run", "docs")["status"]
        expected = {file.name: file.stat().st_mtime_ns for file in tree.iterdir()}
        assert any(abs(time_ns) > 2**63 for time_ns in expected.values())
        assert expected == {one["path"]: one["mtime_ns"] for one in program.json("files", "docs")}
        assert 0 == program.json("run", "docs")["modified"]
        changed = tree / "0.md"
        os.utime(changed, ns=(0, changed.stat().st_mtime_ns + SECOND_NS))
        assert 1 == program.json("run", "docs")["modified"]
        assert ["0.md"] == [change["path"] for change in program.json("changes", "docs")]
        for command in (("files", "docs"), ("changes", "docs"), ("files", "docs", "--path", "2.md", "--history")):
            program.out(*command)
        assert changed.stat().st_mtime_ns in {one["mtime_ns"] for one in program.json("files", "docs")}


def test_help_says_what_modified_compares(program: Program) -> None:
    for command in ("changes", "files"):
        assert "size and modification time" in " ".join(program.out(command, "--help").split())
