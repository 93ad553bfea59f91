"""The pages by their addresses; a page is a function from what is asked to what is answered."""

from collections.abc import Callable, Mapping

from runner.web.page import Asked, Page
from runner.web.pages import overview, runs, timeline

PAGES: Mapping[str, Callable[[Asked], Page]] = {
    "/": overview.overview,
    "/timeline": timeline.timeline,
    "/runs": runs.runs,
    "/runs/{run}": runs.run,
    "/missed": runs.missed,
}
