"""The trends of a job."""

from runner.history import time_range
from runner.output import trends as sentences
from runner.trends.report import Metric
from runner.web import links
from runner.web.page import Asked, Page, document
from runner.web.trends import AXES, show_trends


def trends(asked: Asked) -> Page:
    """Show a metric of a job over time: levels, steps, drift, and whether the pool is faster."""
    job = asked.job()
    metric = Metric(asked.choice("metric", tuple(Metric)) or Metric.WALL)
    since, until = time_range.parse_time_range(asked.text("since"), asked.text("until"), asked.now)
    shown = show_trends(asked.view, job.job_id, metric, since=since, until=until, x=asked.choice("x", AXES))
    chosen = {name: asked.text(name) for name in ("metric", "since", "until", "x")}
    values = {
        "job": job,
        "shown": shown,
        "metric": metric,
        "metrics": sentences.METRIC_NAMES,
        "chosen": chosen,
        "to": lambda **changed: links.query(**chosen | changed),
        "notes": sentences.trends_notes(shown.trends, bounded=since is not None, steps=True),
    }
    return Page(template="trends.html", values=values, json=document(lambda: sentences.trends_record(shown.trends)))
