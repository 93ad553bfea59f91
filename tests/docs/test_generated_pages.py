"""The generated pages are current, and every command and column is documented."""

import re
import sqlite3
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from command_reference import PAGE, render_reference
from conftest import Program
from picture import COMMANDS, PICTURE, draw
from schema_page import DOCS, ROWS, load_tables, render_diagram, render_page

_DATABASE_PAGE = DOCS / "database.md"


def test_the_command_reference_is_current() -> None:
    assert render_reference() == PAGE.read_text(), "run python -m tests.docs.command_reference"


def test_the_schema_page_is_current() -> None:
    tables = load_tables()
    assert set(tables) == set(ROWS), "add the new table to ROWS and to the diagram in tests/docs/schema_page.py"
    assert render_page(tables) == (DOCS / "schema.md").read_text(), "run python -m tests.docs.schema_page"
    assert render_diagram(tables) == (DOCS / "schema.svg").read_text(), "run python -m tests.docs.schema_page"


def test_the_picture_is_drawn_from_real_commands(tmp_path: Path) -> None:
    draw(tmp_path / "picture.svg", prepared_runs=1)
    for drawn in (tmp_path / "picture.svg", PICTURE):
        text = "".join(ET.fromstring(drawn.read_text()).itertext()).replace("\xa0", " ")  # noqa: S314
        for line in (*COMMANDS, "1 added, 1 removed, 1 modified"):
            assert line in text
        assert "/tmp" not in text  # noqa: S108


def test_pictures_load_nothing_from_other_hosts() -> None:
    for picture in DOCS.glob("*.svg"):
        assert not re.search(r"url\(\"?http|href=", picture.read_text())


def test_the_metrics_of_a_daemon_are_documented(program: Program, tree: Path) -> None:
    program.out("run", str(tree))
    with program.daemon("--metrics-file", "runner.prom"):
        pass
    written = re.findall(r"^# TYPE (\w+)", (program.folder / "runner.prom").read_text(), re.MULTILINE)
    table = "\n".join(
        line for line in (DOCS / "monitoring.md").read_text().splitlines() if line.startswith("| `runner_")
    )
    assert set(written) == set(re.findall(r"`(runner_\w+)", table))


@pytest.mark.parametrize("view", ["run_history", "execution_timings", "file_events"])
def test_every_column_of_a_view_is_documented(program: Program, view: str) -> None:
    program.out("db", "upgrade")
    with sqlite3.connect(program.database) as connection:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({view})")}
    [line] = [line for line in _DATABASE_PAGE.read_text().splitlines() if line.startswith(f"| `{view}`")]
    assert columns <= set(re.findall(r"`(\w+)`", line)) | {"run", "job_id", "job"}
