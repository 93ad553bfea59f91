"""What pages may do with --allow-actions: run, pause and resume a job, and cancel a run."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from runner.execution import recovery
from runner.history import jobs, recording, runs
from runner.model.runs import Status
from runner.web import links
from runner.web.site import Site

# How long to wait for the run of a started process, which may wait itself for other runs.
_STARTS_WITHIN_S = 5.0
_POLL_S = 0.05


def routes(site: Site) -> list[Route]:
    """Return the routes of the actions; each answers with the address of the page that shows its result."""
    actions: dict[str, Callable[[Site, Request], str]] = {
        "/jobs/{job}/run": run,
        "/jobs/{job}/pause": partial(_set_paused, paused=True),
        "/jobs/{job}/resume": partial(_set_paused, paused=False),
        "/runs/{run:int}/cancel": cancel,
    }
    return [Route(path, partial(_act, site, action), methods=["POST"]) for path, action in actions.items()]


async def _act(site: Site, action: Callable[[Site, Request], str], request: Request) -> Response:
    page = await run_in_threadpool(action, site, request)
    return RedirectResponse(links.prefix(request.url.path) + page, 303)


def run(site: Site, request: Request) -> str:
    """Start a run of a job in a process of its own, and wait a moment for it; return the page of the run, or the job.

    Raises:
        HTTPException: If the job is running, or its run did not begin.
        NotWritable: If the database is read-only.
    """
    database = site.database
    database.location.refuse_writing()
    recovery.recover(database)
    job = jobs.get_job(database, request.path_params["job"])
    if runs.list_runs(database, job=job, statuses=[Status.RUNNING], limit=1):
        raise HTTPException(409, f"the job {job.spec.name!r} is running already; wait for the run, or cancel it")
    before = runs.newest_run_id(database)
    process = _start(str(job.job_id))
    deadline_s = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline_s:
        has_ended = process.poll() is not None
        new = runs.list_runs(database, job=job, limit=1)
        if new and new[0].run_id > before:
            return f"runs/{new[0].run_id}"
        if has_ended:
            raise HTTPException(409, f"the run did not begin; see `runner run {job.word}`")
        time.sleep(_POLL_S)
    return f"jobs/{job.job_id}"


def _start(job: str) -> subprocess.Popen[bytes]:
    """Start ``runner run`` in a session of its own, so that it outlives this server; the environment has the database.

    Anybody could read the password of a database on its command line.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", job],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=process.wait, name=f"run of job {job}", daemon=True).start()
    return process


def cancel(site: Site, request: Request) -> str:
    """Request the end of a run, without waiting for it; return its page."""
    database, run_id = site.database, request.path_params["run"]
    recovery.recover(database)
    recording.request_cancel(database, run_id, site.clock())
    return f"runs/{run_id}"


def _set_paused(site: Site, request: Request, *, paused: bool) -> str:
    job = jobs.get_job(site.database, request.path_params["job"])
    jobs.set_paused(site.database, job, site.clock(), paused=paused)
    return f"jobs/{job.job_id}"
