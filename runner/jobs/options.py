"""What a job has in a file of jobs: its keys, and how the value of each stands there."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import Any

from runner.model.jobs import Catchup, Event, JobSpec, Notify, ScheduleKind, Track
from runner.model.toml import read_text
from runner.model.units import format_duration, parse_duration

# The databases keep a job's whole numbers in 32 bits.
_MOST = 2**31


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How a choice stands in the file.

    Attributes:
        expected: What its value must be, in words.
        read: Makes the choice of a value of TOML; raises TypeError or ValueError where it is not what is expected, and
            UsageError where more is to be said.
        write: Makes a value of TOML of the choice.
    """

    expected: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One key of a job.

    Attributes:
        key: Its name in the file.
        form: How its value stands there.
        choice: The attribute of a :class:`JobSpec` that it chooses; with a dot, one of its selection's.
    """

    key: str
    form: Form
    choice: str

    def get(self, spec: JobSpec) -> Any:
        """Give what a job chooses."""
        return attrgetter(self.choice)(spec)

    def put(self, spec: JobSpec, chosen: Any) -> JobSpec:
        """Choose something else for a job."""
        part, _, name = self.choice.rpartition(".")
        if not part:
            return replace(spec, **{name: chosen})
        return replace(spec, **{part: replace(getattr(spec, part), **{name: chosen})})


def _read_exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < _MOST):  # a bool is an int as well
            raise TypeError
        return value

    return read


def _read_duration(value: Any) -> int:
    return parse_duration(_read_exactly(str)(value))


def _read_texts(value: Any) -> tuple[str, ...]:
    return tuple(map(read_text, _read_exactly(list)(value)))


def _read_notify(value: Any) -> tuple[Notify, ...]:
    told = []
    for entry in _read_exactly(list)(value):
        match entry:
            case {"on": str(event), "run": [_, *_] as command, **others} if not others:
                told.append(Notify(Event(event), _read_texts(command)))
            case _:
                raise TypeError
    return tuple(told)


def _write_notify(chosen: tuple[Notify, ...]) -> list[Any]:
    return [{"on": notify.event.value, "run": list(notify.command)} for notify in chosen]


def _one_of(kind: type[Enum]) -> Form:
    return Form(
        expected=f"one of {', '.join(repr(str(one.value)) for one in kind)}", read=kind, write=attrgetter("value")
    )


def _or(word: str, form: Form) -> Form:
    """Let a word stand for None."""
    return Form(
        expected=f"{form.expected} or {word!r}",
        read=lambda value: None if value == word else form.read(value),
        write=lambda chosen: word if chosen is None else form.write(chosen),
    )


FLAG = Form(expected="true or false", read=_read_exactly(bool), write=bool)
WHOLE = Form(expected="a whole number from 0 on", read=_read_exactly(int), write=int)
DURATION = Form(expected="a duration such as '1h30m'", read=_read_duration, write=format_duration)
TEXTS = Form(expected="a list of texts such as ['*.md']", read=_read_texts, write=list)
NOTIFY = Form(
    expected=f"a list of {{on = EVENT, run = [PROGRAM, …]}}, the events being {', '.join(Event)}",
    read=_read_notify,
    write=_write_notify,
)

# In the order in which they are written. One line more is all that a new choice takes.
FIELDS = (
    Field(key="catchup", form=_one_of(Catchup), choice="catchup"),
    Field(key="paused", form=FLAG, choice="paused"),
    Field(key="patterns", form=TEXTS, choice="selection.patterns"),
    Field(key="excludes", form=TEXTS, choice="selection.excludes"),
    Field(key="ignore_case", form=FLAG, choice="selection.ignore_case"),
    Field(key="track", form=_one_of(Track), choice="selection.track"),
    Field(key="one_file_system", form=FLAG, choice="selection.one_file_system"),
    Field(key="strategies", form=TEXTS, choice="strategies"),
    Field(key="workers", form=_or("auto", WHOLE), choice="workers"),
    Field(key="timeout", form=_or("none", DURATION), choice="timeout_s"),
    Field(key="full_every", form=DURATION, choice="full_every_s"),
    Field(key="retries", form=WHOLE, choice="retries"),
    Field(key="retry_delay", form=DURATION, choice="retry_delay_s"),
    Field(key="notify", form=NOTIFY, choice="notify"),
)


def entries_of(spec: JobSpec) -> dict[str, Any]:
    """Give all that a file can say about a job, defaults included, in the order in which it is written.

    None stands where there is nothing to say; a root that is not UTF-8 has surrogates.
    """
    schedule = spec.schedule
    entries: dict[str, Any] = {"root": spec.root.decode("utf-8", "surrogateescape")}
    for kind in ScheduleKind:
        entries[kind.value] = schedule.expression if schedule and schedule.kind is kind else None
    if entries["at"]:
        entries["at"] = datetime.fromisoformat(entries["at"])
    every = schedule is not None and schedule.kind is ScheduleKind.EVERY
    entries["anchor"] = schedule.anchor_at if schedule and every else None
    entries["timezone"] = schedule.timezone if schedule else None
    entries["jitter"] = format_duration(schedule.jitter_s) if schedule and schedule.jitter_s else None
    return entries | {field.key: field.form.write(field.get(spec)) for field in FIELDS}
