"""The pages by their addresses; a page is a function from what is asked to what is answered."""

from collections.abc import Callable, Mapping

from runner.web.page import Asked, Page
from runner.web.pages import calibrations, files, overview, runs, trends

PAGES: Mapping[str, Callable[[Asked], Page]] = {
    "/": overview.overview,
    "/runs": runs.runs,
    "/runs/{run}": runs.run,
    "/jobs/{job}/trends": trends.trends,
    "/missed": runs.missed,
    "/calibrations": calibrations.calibrations,
    "/calibrations/{calibration}": calibrations.calibration,
    "/jobs/{job}/files": files.files,
    "/jobs/{job}/file": files.file,
    "/jobs/{job}/changes": files.changes,
}
