"""The calibrations, and one of them."""

from runner.history import calibrations as stored
from runner.output import calibration as rendering
from runner.web.page import Asked, Page, document, listed

_ROWS = 100


def calibrations(asked: Asked) -> Page:
    """List calibrations, newest first, a page from the one ``before``."""
    found = stored.list_calibrations(asked.view, before=asked.number("before"), limit=_ROWS + 1)
    more, found = len(found) > _ROWS, found[:_ROWS]
    values = {"calibrations": found, "older": found[-1].calibration_id if more else None}
    return Page(template="calibrations.html", values=values, json=listed(map(rendering.calibration_summary, found)))


def calibration(asked: Asked) -> Page:
    """Show one calibration: what it measured, and what follows from it."""
    found = stored.get_calibration(asked.view, asked.numbered("calibration"))
    record = rendering.calibration_record(found)
    values = {
        "calibration": found,
        "record": record,
        "lines": rendering.calibration_lines(record),
        "tables": rendering.calibration_tables(record, found.environment.workers) if record["rounds"] else [],
        "break_even": rendering.break_even_sentence(record),
    }
    return Page(template="calibration.html", values=values, json=document(lambda: record))
