"""The outcome of ``runner jobs apply``, job by job."""

import shlex
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from runner.jobs.apply import Action, Outcome
from runner.model.toml import is_utf8
from runner.output.records import Record, plain
from runner.output.text import printable

OUTCOME_KEYS = ("job", "number", "fate", "changes", "never_fires")
_STYLES = {
    Action.ADDED: "green",
    Action.CHANGED: "yellow",
    Action.REMOVED: "red",
    Action.UNCHANGED: "dim",
    Action.LEFT: "dim",
}


def outcome_lines(outcomes: Iterable[Outcome]) -> Iterator[Text]:
    """Yield a line for each job: ``changed docs: every 1h → 2h``."""
    for outcome in outcomes:
        line = Text(f"{outcome.action} {printable(outcome.name)}", style=_STYLES[outcome.action])
        parts = [f"{part.key} {_shown(part.old)} → {_shown(part.new)}" for part in outcome.changes]
        line.append(f": {', '.join(parts)}" if parts else "", style="default")
        line.append(_remark(outcome), style="default")
        yield line


def outcome_record(outcome: Outcome) -> Record:
    """Return the outcome for one job; ``changes`` lists its changed keys, with null for an absent one."""
    return {
        "job": outcome.name,
        "number": outcome.job_id,
        "fate": outcome.action.value,
        "changes": [{"key": part.key, "old": _plain(part.old), "new": _plain(part.new)} for part in outcome.changes],
        "never_fires": outcome.never_fires,
    }


def _remark(outcome: Outcome) -> str:
    if outcome.action is Action.REMOVED:
        return f"; its runs stay: runner history {outcome.job_id}"
    if outcome.action is Action.LEFT:
        return " alone: the file does not name it; --prune removes it"
    if outcome.never_fires and outcome.without_schedule:
        return f"; it has no schedule{' any more' if outcome.action is Action.CHANGED else ''} and runs by hand only"
    return "; it will not fire, as that instant is past" if outcome.never_fires else ""


def _shown(value: Any) -> str:
    match value:
        case None | []:
            return "none"
        case [{"on": _, "run": _}, *_]:
            return printable("; ".join(f"{one['on']}={shlex.join(one['run'])}" for one in value))
        case list():
            return " ".join(printable(shlex.quote(part) if " " in part else part) for part in value)
        case str():
            return printable(value)
        case _:
            return plain(value) if isinstance(value, datetime) else str(value).lower()


def _plain(value: Any) -> Any:
    """Convert a TOML value to JSON; a text that is not UTF-8 is escaped."""
    match value:
        case list():
            return [_plain(part) for part in value]
        case dict():
            return {key: _plain(part) for key, part in value.items()}
        case str():
            return value if is_utf8(value) else printable(value)
        case _:
            return plain(value)
