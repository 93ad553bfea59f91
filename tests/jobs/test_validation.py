import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.history.database import Database
from runner.history.jobs import add_job, list_jobs
from runner.jobs.validation import check_root, check_spec, default_name, find_or_add
from runner.model.errors import UsageError
from runner.model.jobs import Job, JobSpec, Selection

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SPEC = JobSpec(name="docs", root=b"/srv/docs")


def refuse_to_add(job: Job) -> None:
    pytest.fail(f"{job} was added")


def refusal(spec: JobSpec) -> str:
    with pytest.raises(UsageError) as caught:
        check_spec(spec)
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize("name", ["docs", "7up", "a b", "ünï-🦊", "x" * 100, "a-", "no.1", "1.5"])
def test_a_name_may_be_what_a_person_can_type(name: str) -> None:
    spec = replace(SPEC, name=name)
    assert spec is check_spec(spec)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty or has spaces around it"),
        (" ", "is empty or has spaces around it"),
        ("docs ", "is empty or has spaces around it"),
        ("12", "would be taken for a job's number"),
        ("١٢", "would be taken for a job's number"),
        ("a/b", "would be taken for a path"),
        ("/", "would be taken for a path"),
        (".", "would be taken for a path"),
        ("..", "would be taken for a path"),
        ("...", "would be taken for a path"),
        ("~", "would be taken for a path"),
        ("~root", "would be taken for a path"),
        ("-", "would be taken for an option"),
        ("--db", "would be taken for an option"),
        ("\u3000", "is empty or has spaces around it"),
        ("a\0b", "a character that can't be shown"),
        ("a\nb", "a character that can't be shown"),
        ("a\x1b[31m", "a character that can't be shown"),
        ("a\u202eb", "a character that can't be shown"),
        ("a\udcffb", "a character that can't be shown"),
        ("x" * 101, "is longer than 100 characters"),
    ],
)
def test_a_name_that_would_mislead_is_refused(name: str, reason: str) -> None:
    assert reason in refusal(replace(SPEC, name=name))


def test_as_many_workers_as_the_message_says_can_be_used() -> None:
    most = int(refusal(replace(SPEC, workers=10**6)).rpartition(" ")[2])
    assert most >= 64
    for workers in (None, 1, most):
        check_spec(replace(SPEC, workers=workers))
    for workers in (0, -1, most + 1):
        assert f"{workers} workers are not possible; choose from 1 to " in refusal(replace(SPEC, workers=workers))


@pytest.mark.parametrize(
    ("strategies", "reason"),
    [
        ((), "there is no strategy; choose from sequential, pool"),
        (("sequential", "magic"), "there is no strategy 'magic'; choose from sequential, pool"),
        (("pool", "pool"), "a strategy is named twice"),
    ],
)
def test_strategies_that_make_no_run_are_refused(strategies: tuple[str, ...], reason: str) -> None:
    assert reason in refusal(replace(SPEC, strategies=strategies))


@pytest.mark.parametrize("selection", [Selection(patterns=()), Selection(patterns=("",)), Selection(excludes=("",))])
def test_patterns_that_find_nothing_are_refused(selection: Selection) -> None:
    assert re.search("no pattern|pattern is empty|names nothing", refusal(replace(SPEC, selection=selection)))


def test_a_root_is_made_absolute_and_stays_as_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "\udcff\n"
    odd.mkdir()
    (tmp_path / "link").symlink_to(odd)
    monkeypatch.chdir(tmp_path)
    assert os.fsencode(tmp_path / "link") == check_root(Path("x/../link/"))
    assert os.fsencode(tmp_path) + b"/\xff\n" == check_root(odd)
    assert os.fsencode(tmp_path) == check_root(Path()) == check_root(f"/{tmp_path}") == check_root(f"//{tmp_path}/./")


def test_a_root_that_cannot_be_scanned_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in (("missing", "does not exist"), ("file", "is not a directory"), ("x" * 256, "too long")):
        with pytest.raises(UsageError, match=reason):
            check_root(tmp_path / name)


@pytest.mark.parametrize(
    ("root", "name"),
    [
        (b"/srv/docs", "docs"),
        (b"/srv/my notes", "my-notes"),
        (b"/srv/\xff\xfe", "root"),
        (b"/srv/caf\xc3\xa9", "café"),
        (b"/srv/2026", "job-2026"),
        (b"/srv/.git", ".git"),
        (b"/srv/a\n\x1b[1mb", "a-1mb"),
        (b"/", "root"),
        (b"/srv/-", "root"),
        (b"/srv/. ", "root"),
        (b"/srv/..-", "root"),
        (b"/srv/...", "root"),
        (b"/srv/~x", "x"),
        (b"/srv/" + b"x" * 255, "x" * 80),
        (b"/srv/" + b"1" * 255, "job-" + "1" * 80),
    ],
)
def test_a_job_without_a_name_is_named_after_its_folder(root: bytes, name: str) -> None:
    assert name == default_name(root)
    check_spec(replace(SPEC, name=name))


def test_a_job_is_meant_by_its_name_its_number_and_its_folder(
    history: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path)
    job = add_job(history, replace(SPEC, root=os.fsencode(tmp_path / "tree")), NOW)

    for target in ("docs", "1", "tree", "./tree/", str(tmp_path / "tree")):
        assert job == find_or_add(history, target, NOW, refuse_to_add)
    add_job(history, replace(SPEC, name="again", root=job.spec.root), NOW)
    with pytest.raises(UsageError, match="several jobs scan 'tree': 'docs', 'again'; name one of them"):
        find_or_add(history, "tree", NOW, refuse_to_add)


def test_a_folder_without_a_job_gets_one_under_a_free_name(history: Database, tmp_path: Path) -> None:
    long = "y" * 200
    added: list[Job] = []
    for parent in ("a", "b", "c"):
        for name in ("docs", long):
            (tmp_path / parent / name).mkdir(parents=True)
            target = tmp_path / parent / name
            job = find_or_add(history, str(target), NOW, added.append)
            assert os.fsencode(target) == job.spec.root
            assert job == find_or_add(history, str(target), NOW, refuse_to_add)
    assert ["docs", "y" * 80, "docs-2", "y" * 80 + "-2", "docs-3", "y" * 80 + "-3"] == [
        job.spec.name for job in list_jobs(history)
    ]
    assert added == list_jobs(history)


@pytest.mark.parametrize("target", ["nothing", "x" * 300, "7", "\udcff", "./missing", "./file"])
def test_what_is_neither_job_nor_folder_is_said_in_one_line(
    history: Database, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        find_or_add(history, target, NOW, refuse_to_add)
    if "/" not in target:
        assert f"there is no job and no directory {target!r}; see `runner jobs`" == str(caught.value)
    assert [] == list_jobs(history)


@pytest.mark.parametrize("name", [".", "..", "~"])
def test_a_path_is_not_taken_for_a_job_of_that_name(
    history: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    here = tmp_path / "here" / "~"
    here.mkdir(parents=True)
    monkeypatch.chdir(here.parent)
    old = add_job(history, replace(SPEC, name=name), NOW)  # as older versions allowed
    job = find_or_add(history, name, NOW, lambda _: None)
    assert os.path.abspath(name) == os.fsdecode(job.spec.root)  # noqa: PTH100
    assert old == find_or_add(history, str(old.job_id), NOW, refuse_to_add)
    edited = replace(old.spec, workers=2)
    assert edited is check_spec(edited, old.spec)


def test_tags_are_words_named_once() -> None:
    spec = replace(SPEC, tags=("docs", "team/a", "ünï", "v1.2+b", "x" * 40))
    assert spec is check_spec(spec)
    for tag in ("", "a b", "x" * 41, "<b>", "a\nb", "a\u202eb", "a\udcff"):
        assert "is not a tag" in refusal(replace(SPEC, tags=("docs", tag)))
    assert "has 2 tags; name each once" in refusal(replace(SPEC, tags=("docs", "docs")))
    assert "has 21 tags" in refusal(replace(SPEC, tags=tuple(map(str, range(21)))))
