"""No password survives in a text, however it is written there."""

import traceback
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError

from runner.model import secrets
from runner.model.secrets import keep_secret, scrub


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", {})


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hunter2@db.example/runs",
        "postgresql+psycopg://me:hunter2@[::1]:5432/runs?sslmode=require",
        "postgresql://:hunter2@/runs",
        "postgresql://me:hun@ter2:hunter2@db/runs",
        "the folder /srv/postgres:/me:hunter2@db does not exist",
        "postgresql:///runs?host=/tmp&password=hunter2&user=me",
        "postgresql:///runs?sslpassword=hunter2",
        "host=db password=hunter2 user=me",
        r"host=db password='it\'s hunter2' user=me",
        "{'host': 'db', 'password': 'hunter2'}",
        '{"password": "hunter2"}',
        "PGPASSWORD=hunter2",
        "https://hooks.example/x?token=hunter2",
    ],
)
def test_what_is_told_to_be_a_password_is_hidden(text: str) -> None:
    said = scrub(text)
    assert "hunter2" not in said
    assert "***" in said


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me@db.example:5432/runs?host=/tmp",
        "cron: 5 passwords: none",
        "docs run 12: succeeded in 0.1 s",
        "mail me@example.org at 10:30",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert text == scrub(text)


def test_a_known_password_is_hidden_in_any_spelling() -> None:
    keep_secret("postgresql://me:p%40s%2Fs%20w%C3%B6rd@db/runs")
    password = "p@s/s wörd"  # noqa: S105
    for spelling in (password, quote(password), quote(password, safe="").lower(), quote_plus(password)):
        assert "so *** is it" == scrub(f"so {spelling} is it")


def test_a_password_that_is_a_name_too_is_hidden_only_where_it_is_one() -> None:
    keep_secret("postgresql://runner:runner@db/runner")
    assert "a defect in runner" == scrub("a defect in runner")
    assert "postgresql://runner:***@db/runner" == scrub("postgresql://runner:runner@db/runner")


@given(st.text(st.characters(codec="utf-8", min_codepoint=1), min_size=4))
def test_any_password_in_a_url_is_hidden_as_it_is_and_escaped(password: str) -> None:
    assume(password not in "postgresql://u:***@h/d?password=")  # noqa: S105
    for url in (
        f"postgresql://u:{quote(password, safe='')}@h/d",
        f"postgresql://u@h/d?password={quote_plus(password)}",
    ):
        secrets._known.clear()
        keep_secret(url)
        for spelling in (password, quote(password, safe=""), repr(password)[1:-1], url):
            assume(make_url(url).password in {password, None})
            assert password not in scrub(f"< {spelling} >").replace("***", "")


@pytest.mark.timeout(30)
def test_long_text_does_not_take_minutes() -> None:
    length = 100_000
    for text in ("a-" * length, "a:/b:" * (length // 5), "passwordpassword" * (length // 16), "x" * length):
        scrub(text)


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://me:hunter2@127.0.0.1:1/x", "postgresql+psycopg://me@127.0.0.1:1/x?password=hunter2&bad=1"],
)
def test_tracebacks_of_the_libraries_hold_none(url: str) -> None:
    keep_secret(url)
    said = ""
    try:
        create_engine(url).connect()
    except (OperationalError, psycopg.Error, Exception) as error:  # noqa: BLE001  whatever it is
        error.add_note(f"while connecting to {url}")
        said = "".join(traceback.format_exception(error))
    assert "Traceback" in said
    assert "hunter2" in said
    assert "hunter2" not in scrub(said)
