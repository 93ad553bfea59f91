"""The options of a job, each declared once, in the order of the job file.

The command lines of ``schedule`` and ``edit``, the job file, ``jobs export`` and the JSON of ``jobs`` derive from these
declarations. A new option is a field of :class:`~runner.model.jobs.JobSpec`, a line here, and a migration.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any

from runner.model.errors import UsageError
from runner.model.jobs import Catchup, Event, JobSpec, Notify, ScheduleKind, Track
from runner.model.toml import read_text
from runner.model.units import format_duration, parse_duration

_MOST = 2**31  # a job's whole numbers have 32 bits in the databases
_WHEN, _WHAT, _HOW, _LISTED = "When it fires", "What it finds", "How it runs", "How it is listed"


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """How the values of an option are written.

    Attributes:
        given: The type that the command line passes.
        expected: A description for errors in a job file.
        read: Converts from TOML; raises TypeError or ValueError if the value is not what is expected.
        parse: Converts from the command line; raises UsageError.
        write: Converts to TOML.
    """

    given: Any
    expected: str
    read: Callable[[Any], Any]
    parse: Callable[[Any], Any] = _same
    write: Callable[[Any], Any] = _same


@dataclass(frozen=True, slots=True)
class JobOption:
    """One option of a job.

    Attributes:
        key: Its name in the job file.
        kind: How its values are written.
        field: The attribute of a JobSpec, with a dot for one of its selection; not used for a part of the schedule.
        flags: Its names on the command line; none if it is only in the job file.
        metavar: The placeholder of its value.
        panel: The panel of the help in which it stands.
        help: Its help text.
    """

    key: str
    kind: Kind
    field: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    panel: str | None = None
    help: str = ""

    @property
    def attribute(self) -> str:
        """The name of the attribute, the column and the JSON key."""
        return self.field.rpartition(".")[2]

    def get(self, spec: JobSpec) -> Any:
        """Return the value that a job has."""
        return attrgetter(self.field)(spec)

    def set(self, spec: JobSpec, value: Any) -> JobSpec:
        """Return the job with another value."""
        if self.field.startswith("selection."):
            return replace(spec, selection=replace(spec.selection, **{self.attribute: value}))
        return replace(spec, **{self.field: value})


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < _MOST):  # a bool is an int as well
            raise TypeError
        return value

    return read


def _read_at(value: Any) -> str:
    if isinstance(value, date):  # a datetime is a date as well
        return value.isoformat()
    datetime.fromisoformat(_exactly(str)(value).strip())  # words such as tomorrow change with the day
    return str(value)


def _read_texts(value: Any) -> tuple[str, ...]:
    return tuple(map(read_text, _exactly(list)(value)))


def _read_notify(value: Any) -> tuple[Notify, ...]:
    notify = []
    for entry in _exactly(list)(value):
        match entry:
            case {"on": str(event), "run": [_, *_] as command, **others} if not others:
                notify.append(Notify(Event(event), _read_texts(command)))
            case _:
                raise TypeError
    return tuple(notify)


def _parse_notify(texts: Iterable[str]) -> tuple[Notify, ...]:
    return tuple(_parse_one_notify(text) for text in texts if text)


def _parse_one_notify(text: str) -> Notify:
    event, equals, command = text.partition("=")
    if event not in set(Event) or not equals:
        raise UsageError(f"{text!r} does not begin with an event; write {'|'.join(Event)}, = and a command")
    try:
        arguments = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"the command {command!r} can't be read: {error}; check the quotes") from None
    if not arguments:
        raise UsageError(f"{text!r} names no command; write one after the =")
    program = arguments[0]
    if not program or ("/" in program and not program.startswith("/")):
        raise UsageError(f"the program {program!r} would be looked for in the root directory; write its whole path")
    return Notify(Event(event), arguments)


def _parse_whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"{text!r} is not a number of workers; give a whole number, or auto for one per CPU")
    return int(text)


def _one_of(kind: type[StrEnum]) -> Kind:
    return Kind(kind, f"one of {', '.join(repr(one.value) for one in kind)}", read=kind, write=str)


def _or(word: str, kind: Kind) -> Kind:
    """Return a kind in which a word means None."""
    return Kind(
        given=str,
        expected=f"{kind.expected} or {word!r}",
        read=lambda value: None if value == word else kind.read(value),
        parse=lambda text: None if text == word else kind.parse(text),
        write=lambda value: word if value is None else kind.write(value),
    )


_FLAG = Kind(bool, "true or false", _exactly(bool))
_WHOLE = Kind(int, "a whole number from 0 on", _exactly(int))
_DURATION = Kind(
    given=str,
    expected="a duration such as '1h30m'",
    read=lambda value: parse_duration(_exactly(str)(value)),
    parse=parse_duration,
    write=format_duration,
)
_TIMEOUT = _or("none", _DURATION)
_NAMES = Kind(list[str], "a list of texts such as ['*.md']", _read_texts, tuple, list)
_GLOBS = replace(_NAMES, parse=lambda texts: tuple(dict.fromkeys(texts)))
_TAGS = replace(
    _NAMES,
    expected="a list of words such as ['docs']",
    parse=lambda texts: tuple(dict.fromkeys(filter(None, texts))),
)
_NOTIFY = Kind(
    given=list[str],
    expected=f"a list of {{on = EVENT, run = [PROGRAM, …]}}, the events being {', '.join(Event)}",
    read=_read_notify,
    parse=_parse_notify,
    write=lambda notify: [{"on": one.event.value, "run": list(one.command)} for one in notify],
)
_TEXT = Kind(str, "", _exactly(str))


def parse_timeout(text: str) -> int | None:
    """Parse a timeout in seconds; None for ``none``."""
    timeout_s: int | None = _TIMEOUT.parse(text)
    return timeout_s


# The parts of the schedule, which are parsed together by runner.schedules.
SCHEDULE_OPTIONS = (
    JobOption("every", replace(_TEXT, expected=_DURATION.expected), "", ("--every",), "DURATION", _WHEN,
              "Fire at this interval: 90s, 1h30m, '2 hours', daily."),
    JobOption("cron", replace(_TEXT, expected="five cron fields in quotes"), "", ("--cron",), "EXPR", _WHEN,
              "Fire by five cron fields, such as '*/5 * * * *', or @hourly."),
    JobOption("at", replace(_TEXT, expected="an instant", read=_read_at), "", ("--at",), "WHEN", _WHEN,
              "Fire once: at an ISO 8601 instant, 'tomorrow 09:00', 'in 2 hours'."),
    JobOption("timezone", replace(_TEXT, expected="the name of a time zone"), "", ("--timezone",), "ZONE", _WHEN,
              "Time zone of cron fields and instants: Europe/Berlin, or POSIX notation."),
    JobOption("jitter", replace(_TEXT, expected=_DURATION.expected), "", ("--jitter",), "DURATION|none", _WHEN,
              "Delay each fire time by a fixed random part of this duration."),
)  # fmt: skip
OPTIONS = (
    JobOption("catchup", _one_of(Catchup), "catchup", ("--catchup",), None, _WHEN,
              "Fire times missed without a daemon: run once for all, never, or for each."),
    JobOption("paused", _FLAG, "paused"),
    JobOption("patterns", _GLOBS, "selection.patterns", ("--pattern", "-p"), "GLOB", _WHAT,
              "Find files whose names match, such as '*.md'. Repeatable."),
    JobOption("excludes", _GLOBS, "selection.excludes", ("--exclude", "-x"), "GLOB", _WHAT,
              "Leave out names or relative paths that match, such as .git. Repeatable."),
    JobOption("ignore_case", _FLAG, "selection.ignore_case", ("--ignore-case/--match-case",), "", _WHAT,
              "Ignore or match the case of letters in patterns."),
    JobOption("track", _one_of(Track), "selection.track", ("--track",), "names|stat", _WHAT,
              "Keep only names, or also sizes and modification times (stat)."),
    JobOption("one_file_system", _FLAG, "selection.one_file_system", ("--one-file-system/--all-file-systems",), "",
              _WHAT, "Stay on the file system of the root, or enter others."),
    JobOption("strategies", _NAMES, "strategies", ("--strategy", "-s"), "NAME", _HOW,
              "Scan with sequential, pool or incremental. Repeatable."),
    JobOption("workers", _or("auto", replace(_WHOLE, parse=_parse_whole)), "workers", ("--workers",), "N|auto", _HOW,
              "Number of pool workers; auto is one per CPU."),
    JobOption("timeout", _TIMEOUT, "timeout_s", ("--timeout",), "DURATION|none", _HOW,
              "Stop an execution that takes longer."),
    JobOption("full_every", _DURATION, "full_every_s", ("--full-every",), "DURATION", _HOW,
              "Read every directory in an incremental scan this often."),
    JobOption("retries", _WHOLE, "retries", ("--retries",), "N", _HOW,
              "Retry a failed run up to N times."),
    JobOption("retry_delay", _DURATION, "retry_delay_s", ("--retry-delay",), "DURATION", _HOW,
              "Wait this long before each retry."),
    JobOption("notify", _NOTIFY, "notify", ("--notify",), "EVENT=COMMAND", _HOW,
              "Run a command on an event: failure, recovery, change, slow. Repeatable."),
    JobOption("tags", _TAGS, "tags", ("--tag",), "WORD", _LISTED,
              "Group the job with others of this tag, to list them alone. Repeatable; '' for none."),
)  # fmt: skip


def apply_options(spec: JobSpec, given: Mapping[str, Any]) -> JobSpec:
    """Return a job with the options that a command line gives; None means not given."""
    for option in OPTIONS:
        value = given.get(option.key)
        if value is not None:
            spec = option.set(spec, option.kind.parse(value))
    return spec


def job_entries(spec: JobSpec) -> dict[str, Any]:
    """Return all keys of a job in the job file, defaults included, in the order of the file.

    None means an absent key; a root that is not UTF-8 has surrogates.
    """
    schedule = spec.schedule
    entries: dict[str, Any] = {"root": spec.root.decode("utf-8", "surrogateescape")}
    for kind in ScheduleKind:
        entries[kind.value] = schedule.expression if schedule and schedule.kind is kind else None
    if entries["at"]:
        entries["at"] = datetime.fromisoformat(entries["at"])
    entries["anchor"] = schedule.interval_origin if schedule and entries["every"] else None
    entries["timezone"] = schedule.timezone if schedule else None
    entries["jitter"] = format_duration(schedule.jitter_s) if schedule and schedule.jitter_s else None
    return entries | {option.key: option.kind.write(option.get(spec)) for option in OPTIONS}
