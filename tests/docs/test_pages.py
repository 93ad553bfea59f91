"""The generated pages are current, every metric and column is documented, and the site is built without a dead link."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from command_reference import PAGE, render_reference
from conftest import Program
from picture import COMMANDS, PICTURE, SETTINGS, draw
from schema_page import DOCS, ROWS, load_tables, render_diagram, render_page
from screenshots import DIRECTORY, PICTURES

ROOT = DOCS.parent
README = (ROOT / "README.md").read_text()


def table_rows(page: str, start: str) -> list[str]:
    return [line for line in (DOCS / page).read_text().splitlines() if line.startswith(f"| `{start}")]


def test_the_command_reference_is_current() -> None:
    assert render_reference() == PAGE.read_text(), "run python -m tests.docs.command_reference"


def test_the_schema_page_is_current() -> None:
    tables = load_tables()
    assert set(tables) == set(ROWS), "add the new table to ROWS and to the diagram in tests/docs/schema_page.py"
    assert render_page(tables) == (DOCS / "schema.md").read_text(), "run python -m tests.docs.schema_page"
    assert render_diagram(tables) == (DOCS / "schema.svg").read_text(), "run python -m tests.docs.schema_page"


def test_the_picture_is_drawn_from_real_commands(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    program.environment |= SETTINGS
    drawn = program.folder / "picture.svg"
    draw(drawn, program.folder, lambda line: program.out(*line.split()), prepared_runs=1)
    for picture in (drawn, PICTURE):
        text = "".join(ET.fromstring(picture.read_text()).itertext()).replace("\xa0", " ")  # noqa: S314
        for line in (*(f"runner {command}" for command in COMMANDS), "1 added, 1 removed, 1 modified"):
            assert line in text
        assert "/tmp" not in text  # noqa: S108


def test_screenshots_are_small_and_shown() -> None:
    shown = set(re.findall(r"images/([\w-]+)\.webp", (DOCS / "web.md").read_text()))
    assert set(PICTURES) == shown == {path.stem for path in DIRECTORY.iterdir()}
    assert max(path.stat().st_size for path in DIRECTORY.iterdir()) <= 60_000


def test_pictures_load_nothing_from_other_hosts() -> None:
    for picture in DOCS.glob("*.svg"):
        assert not re.search(r"url\(\"?http|href=", picture.read_text())


def test_the_metrics_of_a_daemon_are_documented(program: Program, tree: Path) -> None:
    program.out("run", str(tree))
    with program.daemon("--metrics-file", "runner.prom"):
        pass
    written = re.findall(r"^# TYPE (\w+)", (program.folder / "runner.prom").read_text(), re.MULTILINE)
    table = "\n".join(table_rows("monitoring.md", "runner_"))
    assert set(written) == set(re.findall(r"`(runner_\w+)", table))


@pytest.mark.parametrize("view", ["run_history", "execution_timings", "file_events"])
def test_every_column_of_a_view_is_documented(program: Program, view: str) -> None:
    program.out("db", "upgrade")
    with sqlite3.connect(program.database) as connection:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({view})")}
    [line] = table_rows("database.md", f"{view}`")
    assert columns <= set(re.findall(r"`(\w+)`", line)) | {"run", "job_id", "job"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation strictly: every link and anchor in it has to exist."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return directory


def test_the_site_has_every_page(site: Path) -> None:
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert pages == {page for page in pages if (site / page / "index.html").exists()}


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|link rel=\"stylesheet\")[^>]*(?:src|href)=\"(?:https?:)?//")
    assert [] == [page for page in site.rglob("*.html") if loaded.search(page.read_text())]


def test_links_and_anchors_of_the_readme_exist(site: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", README):
        assert (ROOT / target).exists(), target
    for page, anchor in re.findall(r"\]\(docs/([\w-]+)\.md#([\w-]+)\)", README):
        assert f'id="{anchor}"' in (site / page / "index.html").read_text()
