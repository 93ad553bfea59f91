"""A job in plain sentences, and the same facts as one record."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runner.model.jobs import Catchup, Job, JobSpec, Track
from runner.model.units import format_count, format_duration
from runner.output.records import Record, job_record, plain
from runner.output.text import printable
from runner.schedules.fire_times import FireTime, describe_in_words

_CATCHUPS = {
    Catchup.ONCE: "One run catches up all fire times that passed without a daemon.",
    Catchup.NONE: "Fire times that passed without a daemon are recorded as missed and not caught up.",
    Catchup.ALL: "Each fire time that passed without a daemon is caught up by a run of its own.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What an explanation of a job is made of."""

    job: Job
    fires: FireTime | None  # the next fire time; None without one
    alive: bool  # whether a daemon is alive
    retain_for: str = ""  # the retention of the settings: a duration, empty for none
    retain_runs: int = 0
    retain_failures: bool = False


def explanation_record(facts: Explanation) -> Record:
    """Return the options of the job as ``jobs`` does, with more facts and the sentences."""
    schedule, fires = facts.job.spec.schedule, facts.fires
    more: dict[str, Any] = {
        "schedule_in_words": schedule and describe_in_words(schedule),
        "next_local": fires and fires.local.isoformat(),
        "next_note": (fires and fires.note) or None,
        "daemon_alive": facts.alive,
        "retain_for": facts.retain_for or None,
        "retain_runs": facts.retain_runs or None,
        "retain_failures": facts.retain_failures,
        "sentences": list(explain(facts)),
    }
    record = job_record(facts.job, None if fires is None else fires.at)
    return {key: plain(value) for key, value in (record | more).items() if not key.startswith("last_")}


def explain(facts: Explanation) -> Iterator[str]:
    """Yield the sentences, one on each subject."""
    yield from explain_job(facts)
    yield _explain_retention(facts)


def explain_job(facts: Explanation) -> Iterator[str]:
    """Yield the sentences about the job itself, without those about settings."""
    spec = facts.job.spec
    yield _explain_selection(spec)
    yield _explain_strategies(spec)
    yield _explain_schedule(facts)
    if spec.schedule is not None:
        yield f"{_CATCHUPS[spec.catchup]} A fire time during a run of the job is skipped."
        times = format_count(spec.retries, "time")
        again = f"up to {times}, {format_duration(spec.retry_delay_s)} after each failure" if spec.retries else ""
        yield f"A failed run is retried {again}." if again else "A failed run is not retried."
    for notify in spec.notify:
        yield f"On {notify.event} it runs the command {printable(shlex.join(notify.command))}"
    if not spec.notify:
        yield "Nobody is notified of its runs."


def _explain_selection(spec: JobSpec) -> str:
    selection = spec.selection
    case = ", in upper or lower case," if selection.ignore_case else ""
    excludes = f", except {_join(selection.excludes, 'and')}" if selection.excludes else ""
    borders = ", without entering other file systems" if selection.one_file_system else ""
    kept = "their sizes and modification times" if selection.track is Track.STAT else "only their names"
    found = f"finds the files named {_join(selection.patterns, 'or')}{case} below {printable(spec.root)}"
    return f"{printable(spec.name)} {found}{excludes}{borders}, and keeps {kept}."


def _explain_strategies(spec: JobSpec) -> str:
    workers = "one worker per CPU" if spec.workers is None else format_count(spec.workers, "worker")
    names = [
        f"{name} ({workers})" if name == "pool" else "dask (the workers of its cluster)" if name == "dask" else name
        for name in spec.strategies
    ]
    if "incremental" in spec.strategies:
        names[spec.strategies.index("incremental")] += f" (reading all every {format_duration(spec.full_every_s)})"
    limit = f"is stopped after {format_duration(spec.timeout_s)}" if spec.timeout_s else "has no time limit"
    return f"A run scans with {_join(names, 'and')}; each execution {limit}."


def _explain_schedule(facts: Explanation) -> str:
    spec, fires = facts.job.spec, facts.fires
    if spec.schedule is None:
        return f"It has no schedule, and runs only by `runner run {shlex.quote(printable(spec.name))}`."
    when = f"It fires {describe_in_words(spec.schedule)}"
    if spec.paused:
        return f"{when}, but is paused: nothing fires until `runner resume {shlex.quote(printable(spec.name))}`."
    if fires is None:
        return f"{when}, which has no coming fire time."
    note = f" ({fires.note})" if fires.note else ""
    daemon = "" if facts.alive else "; no daemon is alive, so nothing fires until `runner daemon` runs"
    return f"{when}; next at {fires.local:%a %Y-%m-%d %H:%M:%S %Z}{note}{daemon}."


def _explain_retention(facts: Explanation) -> str:
    if not facts.retain_for and not facts.retain_runs:
        return "Its runs are kept until `runner prune` deletes them."
    kept = [f"the newest {facts.retain_runs:,}"] if facts.retain_runs else []
    kept += [f"those of the last {facts.retain_for}"] if facts.retain_for else []
    kept += ["failed ones"] if facts.retain_failures else []
    return f"The daemon keeps of its runs {_join(kept, 'and')}, and deletes the others."


def _join(words: Sequence[str], last: str) -> str:
    shown = list(map(printable, words))
    return f" {last} ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)
