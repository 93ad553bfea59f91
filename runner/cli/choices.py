"""What the flags of ``schedule`` and ``edit`` choose about a job."""

import shlex
from dataclasses import dataclass, replace

from runner.model.errors import UsageError
from runner.model.jobs import Catchup, Event, JobSpec, Notify, Selection, Track
from runner.model.units import parse_duration


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """Flags as they were given; None for what stays as it is."""

    pattern: list[str] | None
    exclude: list[str] | None
    ignore_case: bool | None
    track: Track | None
    one_file_system: bool | None
    strategy: list[str] | None
    workers: str | None
    timeout: str | None
    full_every: str | None
    retries: int | None
    retry_delay: str | None
    notify: list[str] | None
    catchup: Catchup | None

    def apply(self, spec: JobSpec, *, clearing: bool = False) -> JobSpec:
        """Choose them for a job.

        Args:
            spec: The job's so far.
            clearing: Whether an empty exclude alone removes all excludes.

        Raises:
            UsageError: If a number or duration can't be read.
        """
        selection = choose_selection(
            spec.selection,
            pattern=self.pattern,
            exclude=self.exclude,
            ignore_case=self.ignore_case,
            track=self.track,
            one_file_system=self.one_file_system,
            clearing=clearing,
        )
        return replace(
            spec,
            selection=selection,
            strategies=tuple(self.strategy) if self.strategy else spec.strategies,
            workers=spec.workers if self.workers is None else _parse_workers(self.workers),
            timeout_s=spec.timeout_s if self.timeout is None else parse_timeout(self.timeout),
            full_every_s=spec.full_every_s if self.full_every is None else parse_duration(self.full_every),
            retries=spec.retries if self.retries is None else self.retries,
            retry_delay_s=spec.retry_delay_s if self.retry_delay is None else parse_duration(self.retry_delay),
            notify=tuple(map(parse_notify, filter(None, self.notify))) if self.notify else spec.notify,
            catchup=self.catchup or spec.catchup,
        )


def choose_selection(
    old: Selection,
    *,
    pattern: list[str] | None,
    exclude: list[str] | None,
    ignore_case: bool | None,
    track: Track | None,
    one_file_system: bool | None,
    clearing: bool = False,
) -> Selection:
    """Change a selection by flags as they were given; None for what stays as it is.

    With *clearing*, an empty exclude alone removes all excludes.
    """
    return Selection(
        patterns=tuple(dict.fromkeys(pattern)) if pattern else old.patterns,
        excludes=old.excludes if not exclude else () if clearing and exclude == [""] else tuple(dict.fromkeys(exclude)),
        ignore_case=old.ignore_case if ignore_case is None else ignore_case,
        track=track or old.track,
        one_file_system=old.one_file_system if one_file_system is None else one_file_system,
    )


def parse_notify(text: str) -> Notify:
    """Read whom to tell of what, as in ``failure=mail -s 'a scan failed' ops``; quoted as for a shell, but without one.

    Raises:
        UsageError: If there is no such event, no command, or its program could not be found from elsewhere.
    """
    event, equals, command = text.partition("=")
    if event not in set(Event) or not equals:
        raise UsageError(f"{text!r} does not begin with an event; write {'|'.join(Event)}, = and a command")
    try:
        arguments = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"the command {command!r} can't be read: {error}; mind the quotes") from None
    if not arguments:
        raise UsageError(f"{text!r} names no command; write one after the =")
    program = arguments[0]
    if not program or ("/" in program and not program.startswith("/")):
        raise UsageError(f"the program {program!r} would be looked for in the root folder; write its whole path")
    return Notify(Event(event), arguments)


def _parse_workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"{text!r} is not a number of workers; give a whole number, or auto for one per CPU")
    return int(text)


def parse_timeout(text: str) -> int | None:
    """Parse a timeout in seconds; None for ``none``.

    Raises:
        UsageError: If it can't be read.
    """
    return None if text == "none" else parse_duration(text)
