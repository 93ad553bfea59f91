"""Modification times beyond what nanoseconds in 64 bits reach, and beyond the calendar, on each kind of database."""

import os
import tempfile
from pathlib import Path

from conftest import Program
from old_schemas import TO_0006

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


# As an older runner left them: the nearest time that 64 bits hold, and no more.
TO_OLD_SCHEMA = (
    "DROP VIEW file_events",
    *TO_0006,
    "ALTER TABLE files DROP COLUMN mtime_exact",
    "CREATE VIEW file_events AS SELECT 1 AS run",
    "UPDATE alembic_version SET version_num = '0005'",
)


def test_an_upgraded_database_takes_clamped_times_for_modified_once(place: str, tmp_path: Path) -> None:
    program = Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": place})
    with tempfile.TemporaryDirectory(dir=TMPFS if TMPFS.is_dir() else None) as folder:
        tree = Path(folder) / "docs"
        tree.mkdir()
        nearest = {"0.md": 2**63 - 1, "1.md": -(2**63) + 1, "2.md": 10**18}
        for name, time_ns in nearest.items():
            (tree / name).touch()
            os.utime(tree / name, ns=(time_ns, time_ns))
        program.out("run", tree)
        for name, time_ns in {"0.md": 2**63 + 5, "1.md": -(2**63) - 5}.items():
            os.utime(tree / name, ns=(time_ns, time_ns))
        with program.opened() as database, database.write() as connection:
            for statement in TO_OLD_SCHEMA:
                connection.exec_driver_sql(statement)
        old = {one["path"]: one["mtime_ns"] for one in program.json("files", "docs")}
        exact = {file.name: file.stat().st_mtime_ns for file in tree.iterdir()}
        assert nearest == old
        assert "is sound" in program.out("db", "check")
        assert [2, 0] == [program.json("run", "docs")["modified"] for _ in range(2)]
        assert exact == {one["path"]: one["mtime_ns"] for one in program.json("files", "docs")}
        assert old == {one["path"]: one["mtime_ns"] for one in program.json("files", "docs", "--run", "1")}
        assert ["0.md", "1.md"] == sorted(one["path"] for one in program.json("changes", "docs", "--from", "1"))


def test_help_says_what_modified_compares(program: Program) -> None:
    for command in ("changes", "files"):
        assert "its size or modification time differs; its content is not read" in " ".join(
            program.out(command, "--help").split()
        )
