"""The documentation is built strictly: every link and anchor must exist, and nothing is loaded from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fenced_blocks import PAGES, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return directory


def test_the_site_has_every_page(site: Path) -> None:
    for page in PAGES:
        if page.stem not in {"README", "index"}:
            assert (site / page.stem / "index.html").exists()


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|link rel=\"stylesheet\")[^>]*(?:src|href)=\"(?:https?:)?//")
    assert [] == [page for page in site.rglob("*.html") if loaded.search(page.read_text())]


def test_links_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_anchors_in_the_readme_exist(site: Path) -> None:
    for page, anchor in re.findall(r"\]\(docs/([\w-]+)\.md#([\w-]+)\)", (ROOT / "README.md").read_text()):
        assert f'id="{anchor}"' in (site / page / "index.html").read_text()
