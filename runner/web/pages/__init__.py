"""The pages by their addresses; a page is a function from what is asked to what is answered."""

from collections.abc import Callable, Mapping

from runner.web.page import Asked, Page
from runner.web.pages import calibrations, files, job, overview, runs, timeline, trends

PAGES: Mapping[str, Callable[[Asked], Page]] = {
    "/": overview.overview,
    "/timeline": timeline.timeline,
    "/runs": runs.runs,
    "/runs/{run}": runs.run,
    "/jobs/{job}": job.job,
    "/jobs/{job}/trends": trends.trends,
    "/missed": runs.missed,
    "/calibrations": calibrations.calibrations,
    "/calibrations/{calibration}": calibrations.calibration,
    "/jobs/{job}/files": files.files,
    "/jobs/{job}/file": files.file,
    "/jobs/{job}/changes": files.changes,
}
