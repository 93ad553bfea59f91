"""Answers are those of one state of the database, whatever changes while a command reads."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, event

from runner.history.database import Database
from runner.history.jobs import add_job
from runner.model.jobs import JobSpec
from tests.benchmarks.consistency import QUESTIONS, answer, change, record, stress

# A command's schema check and its search for runs whose process is gone; both are no part of the answer.
_BEFORE_THE_ANSWER = 2


@contextmanager
def changing_at(database: Database, number: int, numbers: random.Random) -> Iterator[list[int]]:
    """Update everything right before the transaction with this number begins; gives how many there were."""
    begun = [0]
    changing = False

    def count(_connection: Connection) -> None:
        nonlocal changing
        if changing:
            return
        begun[0] += 1
        if begun[0] == number:
            changing = True
            change(database, numbers)
            changing = False

    event.listen(Engine, "begin", count)
    try:
        yield begun
    finally:
        event.remove(Engine, "begin", count)


@pytest.fixture
def changed(database: Database) -> Database:
    job = add_job(database, JobSpec(name="docs", root=b"/srv/docs"), datetime.now(UTC))
    for seed in range(8):
        record(database, job, random.Random(seed))  # noqa: S311  chance, not secrets
    return database


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_no_answer_mixes_two_states(question: tuple[str, ...], changed: Database, place: str) -> None:
    for number in range(1, 20):
        before = answer(place, question)
        with changing_at(changed, number, random.Random(number)) as begun:  # noqa: S311
            given = answer(place, question)
        assert given in {before, answer(place, question)}, f"changed at transaction {number}"
        if begun[0] < number:
            break
    else:
        pytest.fail("the command never stops to read")


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_an_answer_is_one_transaction(question: tuple[str, ...], changed: Database, place: str) -> None:
    with changing_at(changed, 0, random.Random(0)) as begun:  # noqa: S311
        answer(place, question)
    assert 1 <= begun[0] <= 1 + _BEFORE_THE_ANSWER


def test_answers_hold_while_others_write(place: str) -> None:
    outcome = stress(place, 8)
    assert outcome.changes > len(QUESTIONS)
    assert outcome.answers > len(QUESTIONS)
    assert [] == outcome.mixed
