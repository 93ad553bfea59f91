"""``runner explain``: a job in plain sentences."""

from datetime import UTC, datetime

import rich.text

from runner.cli import options, output, settings, upcoming
from runner.history import daemons, jobs
from runner.output import explain as rendering


def explain(job: options.JobArgument, *, fmt: options.FormatOption = "table", db: options.Db = None) -> None:
    """Explain a job in plain sentences: what it finds, when it fires, and what happens then.

    It names the directory, patterns and excludes, the schedule in words with the next fire time, what happens after
    downtime and failures, who is notified, and how long runs are kept. JSON has the same facts.

    [bold]Example[/bold]

    runner explain docs
    """
    now = datetime.now(UTC)
    with options.answering(db) as view:
        known = jobs.get_job(view, job)
        alive = daemons.is_any_alive(view, now)
    chosen = settings.load_settings(db)
    facts = rendering.Explanation(
        job=known,
        fires=upcoming.next_fire(known, now),
        alive=alive,
        retain_for=chosen.retain_for,
        retain_runs=chosen.retain_runs,
        retain_failures=chosen.retain_failures,
    )
    output.emit(
        fmt,
        lambda: map(rich.text.Text, rendering.explain(facts)),
        document=lambda: rendering.explanation_record(facts),
    )
