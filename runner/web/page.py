"""What a page asks and answers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.datastructures import QueryParams

from runner.history import jobs
from runner.history.database import View
from runner.model.errors import Unknown, UsageError
from runner.model.jobs import Job
from runner.output import formats
from runner.output.records import Record
from runner.web import links

# The numbers of rows fit 64 bits.
_MOST_DIGITS = 18
# More jobs than these are shown in pages.
_MOST_JOBS, _JOBS = 100, 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request for a page: one state of the database, the instant, and what the address says."""

    view: View
    now: datetime
    parameters: Mapping[str, str]
    query: QueryParams

    def job(self) -> Job:
        """Return the job that the address names by its number, also a removed one; raise Unknown if there is none."""
        return jobs.get_job(self.view, self.parameters["job"], removed=True)

    def choose_page(self, found: Sequence[Job]) -> tuple[Sequence[Job], int | None]:
        """Return the jobs of the page that begins after the job ``after``, and the ``after`` of the next page."""
        after = self.number("after") or 0
        rest = [job for job in found if job.job_id > after]
        shown = rest[: _MOST_JOBS if len(found) <= _MOST_JOBS else _JOBS]
        return shown, shown[-1].job_id if len(rest) > len(shown) else None

    def text(self, key: str) -> str | None:
        """Return a value of the query; None if it is missing or empty."""
        value = self.query.get(key) or None
        if value is not None and "\0" in value:
            raise UsageError(f"{key} contains a NUL; remove it")
        return value

    def number(self, key: str, *, least: int = 1) -> int | None:
        """Return a whole number of the query; None if it is missing or empty."""
        text = self.text(key)
        if text is None:
            return None
        return self._whole(key, text, least)

    def numbered(self, key: str) -> int:
        """Return the whole number that the address has in this place; raise Unknown for anything else."""
        try:
            return self._whole(key, self.parameters[key], 1)
        except UsageError as error:
            raise Unknown(str(error)) from None

    def _whole(self, key: str, text: str, least: int) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS) or int(text) < least:
            raise UsageError(f"{key} is not a whole number of at least {least}: {text[:40]!r}")
        return int(text)

    def path(self, key: str) -> bytes | None:
        """Return a path of the query; None if it is missing."""
        return links.read_path(self.query.get(key), self.query.get(f"{key}64"))

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """Return a value of the query that is one of the choices; None if it is missing or empty."""
        text = self.text(key)
        if text is not None and text not in choices:
            raise UsageError(f"there is no {key} {text[:40]!r}; choose from {', '.join(choices)}")
        return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The answer to a request.

    Attributes:
        template: The name of the template of the page.
        values: What it shows.
        json: Yields the lines of the same answer as JSON.
    """

    template: str
    values: Mapping[str, Any]
    json: Callable[[], Iterable[str]]


def listed(records: Iterable[Record]) -> Callable[[], Iterable[str]]:
    """Return a :attr:`Page.json` for the records of a listing."""
    return lambda: (f"{line}\n" for line in formats.listing(records, "json"))


def document(record: Callable[[], Record]) -> Callable[[], Iterable[str]]:
    """Return a :attr:`Page.json` for an answer that is one record."""
    return lambda: formats.to_json(record())
