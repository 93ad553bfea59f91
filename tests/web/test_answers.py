"""What a page answers to wrong input, to addresses with a slash at the end, and to a reader who has it already."""

from pathlib import Path

import pytest
from browsing import served
from reader import reading

from runner.web.site import Options


def test_an_error_keeps_the_input_of_the_form(tmp_path: Path) -> None:
    with reading(str(tmp_path / "runner.db")) as reader:
        answer = reader.get("/runs", params={"since": '"><b>soon', "status": "failed", "<b>": "x"})
    assert 400 == answer.status_code
    assert '<input name="since" value="&#34;&gt;&lt;b&gt;soon"' in answer.text
    assert '<input name="status" value="failed"' in answer.text
    assert "<b>" not in answer.text


@pytest.mark.parametrize("etag", ["W/{}", '"other", {}'])
def test_an_unchanged_page_is_not_sent_again_through_proxies(tmp_path: Path, etag: str) -> None:
    with reading(str(tmp_path / "runner.db")) as reader:
        known = reader.get("/runs").headers["etag"]
        assert 304 == reader.get("/runs", headers={"If-None-Match": etag.format(known)}).status_code


@pytest.mark.parametrize(("asked", "target"), [("/runs/", "../runs"), ("/jobs/1/files/", "../files")])
def test_a_slash_at_the_end_leads_relatively_to_the_page(tmp_path: Path, asked: str, target: str) -> None:
    with reading(str(tmp_path / "runner.db")) as reader:
        answer = reader.get(asked)
    assert (307, target) == (answer.status_code, answer.headers["location"])


def test_a_notice_is_on_every_page(tmp_path: Path) -> None:
    with served(str(tmp_path / "runner.db"), Options(notice="invented by `runner demo`")) as client:
        assert all(
            "invented by <code>runner demo</code>" in client.get(path).text for path in ("/", "/runs", "/nowhere")
        )
