"""Jobs as a file: a TOML table ``[jobs.NAME]`` for each; its keys are the long options of ``runner schedule``.

A key that is left out means its default, whatever the job was before, so that one file always makes the same jobs. Only
an interval's phase is no such choice: without an ``anchor``, a present job keeps its own.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from runner.jobs.options import DURATION, FIELDS, entries_of
from runner.jobs.validation import absolute_root, check_spec
from runner.model.errors import UsageError, reason_of
from runner.model.jobs import JobSpec, Schedule, ScheduleKind
from runner.model.toml import Document, NumberedTable, read_bounded, read_text, write_comment, write_key, write_value
from runner.schedules.instants import find_clock_warning
from runner.schedules.parse import parse_kept_schedule
from runner.schedules.zones import find_zone

_HEADER = """\
# The jobs of runner, as `runner jobs export` writes them and `runner jobs apply` makes them so.
# What a job does not say is as `runner schedule` has it without that option; anchor is where every counts from.
"""
# Room is left on both sides for a century's interval and a fire time.
_FIRST_ANCHOR, _LAST_ANCHOR = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A job as a file wants it.

    Attributes:
        spec: What it chooses.
        anchored: Whether it says from when its interval counts; else the schedule's anchor is only for a new one.
        warnings: How a local time that occurs twice or not at all is read.
    """

    spec: JobSpec
    anchored: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsFile:
    """A file that was read.

    Attributes:
        document: The file itself.
        jobs: In its order.
    """

    document: Document
    jobs: tuple[Wanted, ...]

    def place(self, *path: str) -> str:
        """Tell where something stands, as an error message begins."""
        return self.document.place(("jobs", *path))

    @property
    def is_about_jobs(self) -> bool:
        """Whether it speaks of jobs, if only to say that there are none."""
        return "jobs" in self.document.entries


def write_jobs(specs: Iterable[JobSpec]) -> str:
    """Write a file, the jobs in the order of their names, so that the same jobs always make the same file.

    Defaults are left out. A time zone is not, since it would be another machine's own, and neither is an anchor, by
    which an interval fires at the same instants from whatever database.
    """
    blocks = [_HEADER]
    for spec in sorted(specs, key=lambda spec: spec.name):
        defaults = entries_of(JobSpec(name=spec.name, root=b""))
        lines = [f"[jobs.{write_key(spec.name)}]"]
        for key, value in entries_of(spec).items():
            if value != defaults[key]:
                lines.append(f"{key} = {write_value(value)}")
                if key == "root" and not _is_utf8(spec.root):
                    lines[-1] += f"  {write_comment(value)}"
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks if len(blocks) > 1 else [_HEADER, "[jobs]\n"])


def load_jobs(file: str, now: datetime) -> JobsFile:
    """Read a file; relative roots are relative to its folder.

    Raises:
        UsageError: If it can't be read, and as :func:`read_jobs` does.
    """
    if not file:  # which would mean the current folder
        raise UsageError("the file's name is empty; name a file, or write - for standard input")
    path = os.path.abspath(os.fsencode(file))  # noqa: PTH100
    try:
        with open(path, "rb") as opened:  # noqa: PTH123
            data = read_bounded(opened, f"the file {file!r}")
    except OSError as error:
        raise UsageError(f"the file {file!r} can't be read: {reason_of(error)}; check its path") from None
    return read_jobs(file, data, os.path.dirname(path), now)  # noqa: PTH120


def read_jobs(name: str, data: bytes, folder: bytes, now: datetime) -> JobsFile:
    """Read what a file wants, without a look at the roots.

    Args:
        name: How messages name the file.
        data: What is in it.
        folder: What relative roots are relative to.
        now: The instant from which new schedules count; aware.

    Raises:
        UsageError: If something in it can't be; begins with the name and the line.
    """
    document = Document(name, data)
    table = NumberedTable(document, (), document.entries)
    jobs = table.take("jobs", {})
    table.finish()
    if not isinstance(jobs, dict):
        raise UsageError(f"{document.place(('jobs',))}jobs are tables; write [jobs.NAME] above the keys of each")
    wanted = tuple(_read_job(document, name, entries, folder, now) for name, entries in jobs.items())
    return JobsFile(document=document, jobs=wanted)


def _read_job(document: Document, name: str, entries: object, folder: bytes, now: datetime) -> Wanted:
    if not isinstance(entries, Mapping):
        place = document.place(("jobs", name))
        raise UsageError(f"{place}{name!r} is not a job; write [jobs.NAME] above the keys of each")
    table = NumberedTable(document, ("jobs", name), entries)
    with _told(table):
        spec = check_spec(JobSpec(name=name, root=b"/"))
    spec = replace(spec, root=_read_root(table, folder))
    anchored = "anchor" in entries
    spec = replace(spec, schedule=_read_schedule(table, now))
    for field in FIELDS:
        value = table.take(field.key)
        if value is not None:
            try:
                chosen = field.form.read(value)
            except (TypeError, ValueError):
                raise table.wrong(field.key, field.form.expected, value) from None
            except UsageError as error:
                raise UsageError(f"{table.place(field.key)}{error}") from None
            # What was chosen before has been checked, so whatever is wrong now is this.
            with _told(table, field.key):
                spec = check_spec(field.put(spec, chosen))
    table.finish()
    at = entries.get("at")
    written = at.isoformat() if isinstance(at, date) else at
    warning = find_clock_warning(written, spec.schedule.timezone) if written and spec.schedule is not None else None
    return Wanted(spec=spec, anchored=anchored, warnings=(warning,) if warning is not None else ())


def _read_root(table: NumberedTable, folder: bytes) -> bytes:
    value = table.need("root")
    try:
        text = read_text(value)
    except (TypeError, ValueError):
        raise table.wrong("root", "the path of a folder", value) from None
    if not text or "\0" in text:
        raise table.wrong("root", "the path of a folder, . for the file's own", value)
    path = os.path.expanduser(text.encode("utf-8", "surrogateescape"))  # noqa: PTH111
    return absolute_root(os.path.join(folder, path))


def _read_schedule(table: NumberedTable, now: datetime) -> Schedule | None:
    kinds = [key for key in table.entries if key in set(ScheduleKind)]
    if len(kinds) > 1:
        raise UsageError(f"{table.place(kinds[1])}{' and '.join(kinds)} exclude each other; keep one of them")
    texts = {kind.value: _take_line(table, kind.value) for kind in ScheduleKind}
    zone, jitter, anchor = _take_line(table, "timezone"), _take_line(table, "jitter"), _take_anchor(table)
    for key, value in {"timezone": zone, "jitter": jitter, "anchor": anchor}.items():
        if value is not None and (not kinds or (key == "anchor" and kinds != ["every"])):
            needed = "every" if key == "anchor" else "every, cron or at"
            raise UsageError(f"{table.place(key)}{key} means nothing without {needed}; remove it, or add that")
    if not kinds:
        return None
    if zone is not None:
        with _told(table, "timezone"):
            find_zone(zone)
    with _told(table, kinds[0]):
        schedule = parse_kept_schedule(**texts, timezone=zone, now=anchor or now)
    if jitter is not None:
        with _told(table, "jitter"):
            schedule = parse_kept_schedule(**texts, timezone=zone, jitter=jitter, now=anchor or now)
    return schedule


def _take_line(table: NumberedTable, key: str) -> str | None:
    value = table.take(key)
    if key == "at" and isinstance(value, date):  # a datetime is one as well
        return value.isoformat()
    if value is not None and not isinstance(value, str):
        expected = {"cron": "five cron fields in quotes", "at": "an instant", "timezone": "the name of a time zone"}
        raise table.wrong(key, expected.get(key, DURATION.expected), value)
    return value


def _take_anchor(table: NumberedTable) -> datetime | None:
    value = table.take("anchor")
    if value is None:
        return None
    try:
        anchor = value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo is not None else None
    except OverflowError:  # in UTC it lies outside the calendar
        anchor = None
    if anchor is None or not _FIRST_ANCHOR <= anchor < _LAST_ANCHOR:
        expected = "an instant from 1970 to 2099 with its offset and without quotes, such as 2026-01-01T00:00:00Z"
        raise table.wrong("anchor", expected, value)
    return anchor


@contextmanager
def _told(table: NumberedTable, key: str | None = None) -> Iterator[None]:
    """Say of an error where it stands in the file."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{table.place(key)}{error}") from None


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
