"""Templates, and how they show values; everything that they insert is escaped."""

from datetime import datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from runner.model.runs import Run, Status
from runner.model.units import format_bytes, format_count, format_duration, format_instant, format_seconds
from runner.output import cells
from runner.output.text import harmless, printable
from runner.web import links
from runner.web.plots import class_of
from runner.web.site import Answer
from runner.web.svg import element

# Sent as one file each, to save requests.
_STATIC = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}


@cache
def static_files() -> dict[str, Answer]:
    """Return the style sheet, the script and the icon."""
    parts = sorted((files("runner.web") / "static").iterdir(), key=lambda part: part.name)
    return {
        name: Answer(b"".join(one.read_bytes() for one in parts if Path(one.name).suffix == Path(name).suffix), kind)
        for name, kind in _STATIC.items()
    }


def render(template: str, **values: Any) -> str:
    """Return a page as HTML."""
    return _environment().get_template(template).render(values)


def compile_templates() -> None:
    """Compile all templates, for which the first reader of a page would wait."""
    for name in _environment().list_templates():
        _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("runner.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters |= {
        "basename": lambda path: printable(path.rpartition(b"/")[2]),
        "bytes": format_bytes,
        "changes": lambda counts: cells.changes(counts).text,
        "count": format_count,
        "day": _day,
        "duration": format_duration,
        "path": lambda path: printable(path or b"."),
        "safe_text": harmless,
        "seconds": format_seconds,
        "sentence": _sentence,
        "name": printable,
        "when": _when,
        "status": _status,
    }
    static = {name: f"static/{name}?v={answer.etag[1:9]}" for name, answer in static_files().items()}
    environment.globals |= {
        "Status": Status,
        "class_of": class_of,
        "path_parameter": links.path_parameter,
        "query": links.query,
        "static": static,
        "version": version("runner"),
    }
    return environment


def _sentence(text: str) -> str:
    """Show a message whose commands are quoted by backticks."""
    parts = harmless(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


def _day(instant: datetime) -> Markup:
    """Show a date and time that does not become relative."""
    shown = cells.clock(instant, "%Y-%m-%d %H:%M")
    return element("time", shown, data_fixed="", datetime=format_instant(instant))


@pass_context
def _when(context: Context, instant: datetime | None) -> str:
    """Show an instant as its distance from now, its date and time in the tooltip; the script keeps it current."""
    if instant is None:
        return cells.UNKNOWN
    title = f"{instant.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    return element("time", cells.relative(instant, context["now"]), datetime=format_instant(instant), title=title)


def _status(run: Run | Status) -> Markup:
    """Show a status as its mark and its name."""
    status = run if isinstance(run, Status) else run.status
    text = cells.status(run).text if isinstance(run, Run) else status.value
    return element("span", text.replace("_", " "), class_=f"status {status.value}")
