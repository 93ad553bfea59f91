import html
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from browsing import served
from conftest import Program
from history_examples import NOW, listing, play, snapshot, some_job

from runner.history.database import Database
from runner.model.jobs import Job
from runner.model.units import format_bytes

HOSTILE = b"<script>\xff\xe2\x80\xae\n.md"


@pytest.fixture
def job(database: Database) -> Job:
    """Return a job with three runs; the last could not read a directory."""
    job = some_job(database)
    old, new = {b"a.md": (1, 10), b"b.md": (2, 20)}, {b"a.md": (5, 50), HOSTILE: (7, 70)}
    play(database, job, snapshot(listing(b"", {b"top.md": (1, 1)}), listing(b"guide", old), listing(b"secret", old)))
    play(database, job, snapshot(listing(b"", {b"top.md": (1, 1)}), listing(b"guide", new), listing(b"secret", old)))
    changed = listing(b"guide/deep", {b"x.md": (2**62, 1), b"y.md": (2**62, 1)})
    play(database, job, snapshot(listing(b"guide", new), changed, unreadable=[b"secret"]))
    return job


@pytest.fixture
def client(place: str, job: Job) -> Iterator[httpx.Client]:
    assert 1 == job.job_id
    with served(place) as client:
        yield client


def read(client: httpx.Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert status == answer.status_code, answer.text
    return answer.text


def names(page: str) -> list[str]:
    """Return the texts of the links in the first column."""
    return [
        html.unescape(name)
        for name in re.findall(r'<th scope="row" class="path[^>]*>.*?<a [^>]*>(.*?)</a>', page, re.DOTALL)
    ]


def follow(client: httpx.Client, page: str, text: str) -> str:
    """Return the page behind the link with a text in a page of files."""
    [link] = re.findall(rf'<a [^>]*href="([^"]*)"[^>]*>{re.escape(html.escape(text))}</a>', page)
    return read(client, urljoin("/jobs/1/files", html.unescape(link)))


def test_one_directory_at_a_time_with_counts_and_sizes(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/files?run=2")
    assert ["guide/", "secret/", "top.md"] == names(page)
    assert re.search(r">all</th><td class=\"num\">5</td>", page)
    page = follow(client, page, "guide/")
    assert ["\\<script>\\xff\\u202e\\n.md".lstrip("\\"), "a.md"] == sorted(names(page))
    assert "../../runs/2" in page


def test_sizes_beyond_64_bits_are_added_up(client: httpx.Client) -> None:
    assert format_bytes(2**63) in read(client, "/jobs/1/files?under=guide")


def test_hostile_name_has_a_page_of_its_own(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/files?run=2&under=guide")
    assert "<script>\\xff" not in page
    life = follow(client, page, "<script>\\xff\\u202e\\n.md")
    assert "+ added" in life
    assert HOSTILE.decode("utf-8", "replace") not in life


def test_files_of_an_unreadable_directory_are_marked(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/files")
    assert re.search(r"secret/</a> <span class=\"unread\"", page)
    assert "could not read 1 path" in page
    assert 2 == read(client, "/jobs/1/files?under=secret").count("? unknown")
    assert "unread" not in read(client, "/jobs/1/files?run=2")


def test_instant_leads_to_the_last_run_before_it(client: httpx.Client) -> None:
    later = (NOW + timedelta(days=1)).isoformat()
    assert "latest" in read(client, "/jobs/1/files")
    assert client.get("/jobs/1/files.json").json() == client.get("/jobs/1/files.json", params={"at": later}).json()
    assert "has no saved run before" in read(client, "/jobs/1/files?at=2000-01-01", 400)
    assert "exclude each other" in read(client, "/jobs/1/files?at=1d&run=2", 400)


def test_steps_lead_to_the_neighbouring_runs(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/files?run=2&under=guide")
    assert ["a.md", "b.md"] == names(follow(client, page, "← earlier"))
    assert "deep/" in names(follow(client, page, "later →"))
    assert ["1", "2", "3"] == sorted(re.findall(r'<option value="(\d)"', page))


def test_rest_of_a_directory_follows_by_key(database: Database, client: httpx.Client) -> None:
    many = [listing(b"m-%03d" % number, {b"x.md": (1, 1)}) for number in range(300)]
    files = listing(b"", {b"f-%03d.md" % number: (1, 1) for number in range(900)})
    other = some_job(database, "many")
    play(database, other, snapshot(files, *many, listing(b"m-000-", {b"x.md": (1, 1)})))
    page, seen = read(client, "/jobs/2/files"), []
    while more := re.search(r'href="(files\?[^"]*after=[^"]*)"', page):
        seen += names(page)
        page = read(client, f"/jobs/2/{html.unescape(more[1])}")
    seen += names(page)
    assert 1201 == len(seen) == len(set(seen))
    assert ["m-000/", "m-000-/", "m-001/"] == seen[:3]
    assert ["f-898.md", "f-899.md"] == seen[-2:]


def test_life_of_a_file(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/file?path=guide/a.md")
    assert ["~ modified", "+ added"] == re.findall(r'<td class="[a-z]+">(. [a-z]+)</td>', page)
    read(client, "/jobs/1/file?path=guide/none.md", 404)
    read(client, "/jobs/1/file", 400)
    read(client, "/jobs/1/file?path=../../etc/passwd", 400)
    read(client, "/jobs/1/file?path64=%25", 400)


def test_changes_are_grouped_and_counted(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/changes?from=1&to=2")
    assert ["+ 1 added", "− 1 removed", "~ 1 modified"] == re.findall(r">(. \d+ \w+)</a>", page)
    assert ["guide"] == re.findall(r'rowgroup"[^>]*><a [^>]*>(.*?)/</a>', page)
    assert ["b.md"] == names(follow(client, page, "− 1 removed"))


def test_last_run_is_the_default_with_its_notes(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/changes")
    assert ["top.md", "x.md", "y.md"] == names(page)
    assert "could not read 1 path" in page
    assert "changes?from=2&amp;to=3" in page


def test_changes_by_directory_lead_deeper(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/changes?from=1&by=directory")
    assert ["guide/"] == names(page)
    assert ["deep/"] == names(follow(client, page, "guide/"))
    assert "directly here" in follow(client, page, "guide/")


def test_first_run_has_a_link_that_can_be_shared(client: httpx.Client) -> None:
    page = read(client, "/jobs/1/changes?to=1")
    assert names(page) == names(follow(client, page, "Link to this"))
    assert 5 == len(names(page))


def test_many_changes_follow_by_key(database: Database, client: httpx.Client) -> None:
    files = {b"f-%04d.md" % number: (1, 1) for number in range(600)}
    play(
        database,
        some_job(database, "many"),
        snapshot(listing(b"a", files), listing(b"a/b", files), listing(b"b", files)),
    )
    page, seen = read(client, "/jobs/2/changes"), []
    assert "all 1,800" in page
    while more := re.search(r'href="(changes\?[^"]*after=[^"]*)"', page):
        seen += names(page)
        page = read(client, f"/jobs/2/{html.unescape(more[1])}")
    assert 1800 == len(seen) + len(names(page))


def test_job_without_saved_runs_has_empty_pages(database: Database, client: httpx.Client) -> None:
    play(database, some_job(database, "new"), None)
    for page in ("files", "changes"):
        assert "No run has been saved yet" in read(client, f"/jobs/2/{page}")
        assert [] == client.get(f"/jobs/2/{page}.json").json()


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("files", ["files", "docs"]),
        ("files.json?run=1&under=guide", ["files", "docs", "--run", "1", "--under", "guide"]),
        ("file.json?path=guide/a.md", ["files", "docs", "--path", "guide/a.md", "--history"]),
        ("changes.json?from=1&to=3", ["changes", "docs", "--from", "1", "--to", "3"]),
        ("changes.json?from=1&by=directory", ["changes", "docs", "--from", "1", "--by-folder"]),
        ("changes.json?under=guide", ["changes", "docs", "--under", "guide"]),
    ],
)
def test_json_equals_the_commands(
    client: httpx.Client, place: str, program: Program, address: str, command: list[str]
) -> None:
    path, _, query = address.partition("?")
    answer: Any = client.get(f"/jobs/docs/{path.removesuffix('.json')}.json?{query}", follow_redirects=True)
    assert program.json(*command, "--db", place) == answer.json()


def test_slider_over_many_runs_has_few_notches(database: Database, client: httpx.Client) -> None:
    job = some_job(database, "often")
    for number in range(500):
        play(database, job, snapshot(listing(b"", {b"x.md": (number // 100, 1)})))
    page = read(client, "/jobs/2/files?run=100")
    options = re.findall(r'<option value="(\d+)"( selected)?>([^<]*)', page)
    assert len(options) <= 241
    assert [("100", " selected")] == [option[:2] for option in options if option[1]]
    assert sorted(options, key=lambda option: -int(option[0])) == options
    assert 4 == sum("1 change in 3 runs" in text for *_, text in options)
