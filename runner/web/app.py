"""The application: addresses, their pages, and what is answered when something fails."""

import logging
import re
from collections.abc import Callable
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from runner.history import daemons, jobs
from runner.history.database import View
from runner.history.revision import find_revision
from runner.model.errors import HistoryError, NotWritable, RunnerError, Unknown
from runner.model.secrets import scrub
from runner.output import formats
from runner.output.text import harmless
from runner.web import actions, links, rendering
from runner.web.guard import Guard
from runner.web.metrics import CONTENT_TYPE, MetricsPage
from runner.web.page import Asked, Page
from runner.web.pages import PAGES
from runner.web.site import Answer, Site

_log = logging.getLogger(__name__)
# Larger answers in JSON are not kept in memory.
_MOST_KEPT_BYTES = 2**22
_SENT_BYTES = 2**18
# Pages rendered at once; /revision does not wait for them.
_MOST_RENDERED = 8

PageFunction = Callable[[Asked], Page]


def make_app(site: Site) -> ASGIApp:
    """Return the ASGI application of a site."""
    routes = [
        Route("/static/{name}", _static),
        Route("/revision", partial(_revision, site)),
        Route("/healthz", partial(_healthz, site)),
        Route("/metrics", partial(_metrics, MetricsPage(site))),
        *(actions.routes(site) if site.options.allow_actions else ()),
    ]
    limiter = CapacityLimiter(_MOST_RENDERED)
    for path, page in PAGES.items():
        routes.append(Route("/index.json" if path == "/" else f"{path}.json", _json_endpoint(site, page, limiter)))
        routes.append(Route(path, _html_endpoint(site, page, limiter)))
    handlers: dict[Any, Any] = {
        HTTPException: partial(_explain_status, site),
        RunnerError: partial(_explain, site),
        Exception: partial(_explain_defect, site),
    }
    # Outside everything, so that pages about defects are guarded too.
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, site.options)


def _html_endpoint(site: Site, page: PageFunction, limiter: CapacityLimiter) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        if (target := await run_in_threadpool(_find_redirect, site, request)) is not None:
            return RedirectResponse(target, 307)
        key = f"{request.url.path}?{request.url.query}"
        answer = await to_thread.run_sync(site.answer, key, partial(_render, site, request, page), limiter=limiter)
        return respond(request, answer)

    return endpoint


def _json_endpoint(site: Site, page: PageFunction, limiter: CapacityLimiter) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await to_thread.run_sync(_json_response, site, request, page, limiter=limiter)

    return endpoint


def respond(request: Request, answer: Answer) -> Response:
    """Return the response that sends an answer: compressed where the reader allows, without content if unchanged."""
    headers = {"ETag": answer.etag, "Vary": "Accept-Encoding, Cookie"}
    if answer.etag in request.headers.get("if-none-match", ""):  # a proxy that compresses calls it weak
        return Response(status_code=304, headers=headers)
    content = answer.content
    if "gzip" in request.headers.get("accept-encoding", "") and len(answer.zipped) < len(content):
        content = answer.zipped
        headers["Content-Encoding"] = "gzip"
    return Response(content, answer.status, headers, answer.media_type)


def _render(site: Site, request: Request, function: PageFunction) -> Answer:
    with site.view() as view:
        asked = _asked(site, request, view)
        page = function(asked)
        html = rendering.render(page.template, **_frame(site, request, view, asked), **page.values)
    return Answer(html.encode(), "text/html")


def _asked(site: Site, request: Request, view: View) -> Asked:
    return Asked(view=view, now=site.clock(), parameters=request.path_params, query=request.query_params)


def _frame(site: Site, request: Request, view: View, asked: Asked) -> dict[str, Any]:
    """Return what every page shows around its content."""
    daemon = daemons.find_daemon(view)
    return {
        "root": links.prefix(request.url.path),
        "here": request.url.path,
        "asked": asked.query,
        "now": asked.now,
        "revision": find_revision(view, asked.now),
        "daemon": daemon,
        "daemon_state": None if daemon is None else daemons.state_of(daemon, asked.now),
        "allow_actions": site.options.allow_actions,
        "notice": site.options.notice,
        "database": scrub(str(view.location)),
    }


def _json_response(site: Site, request: Request, function: PageFunction) -> Response:
    with site.view() as view:
        page = function(_asked(site, request, view))
        # First into a file, so that a slow reader does not keep the transaction open.
        spool = SpooledTemporaryFile(_MOST_KEPT_BYTES)  # noqa: SIM115  closed when it is sent
        for part in page.json():
            spool.write(part.encode())
    size = spool.tell()
    spool.seek(0)
    if size <= _MOST_KEPT_BYTES:
        with spool:
            return respond(request, Answer(spool.read(), "application/json"))
    headers = {"Content-Length": str(size)}

    def parts() -> Any:
        with spool:
            while part := spool.read(_SENT_BYTES):
                yield part

    return StreamingResponse(parts(), headers=headers, media_type="application/json")


def _find_redirect(site: Site, request: Request) -> str | None:
    """Find the address with a job's number of one with its name."""
    name = request.path_params.get("job")
    if name is None or (name.isascii() and name.isdecimal()):
        return None
    with site.view() as view:
        number = jobs.get_job(view, name, removed=True).job_id
    rest = request.url.path.removeprefix("/jobs/").partition("/")[2]
    path = f"jobs/{number}/{rest}".rstrip("/")
    return links.prefix(request.url.path) + path + (f"?{request.url.query}" if request.url.query else "")


async def _static(request: Request) -> Response:
    answer = rendering.static_files().get(request.path_params["name"])
    if answer is None:
        raise HTTPException(404)
    response = respond(request, answer)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


async def _revision(site: Site, request: Request) -> Response:
    text = await run_in_threadpool(site.revision)
    return respond(request, Answer(text.encode(), "text/plain"))


async def _metrics(metrics: MetricsPage, _request: Request) -> Response:
    return PlainTextResponse(await run_in_threadpool(metrics.text), media_type=CONTENT_TYPE)


async def _healthz(site: Site, _request: Request) -> Response:
    await run_in_threadpool(site.revision)
    return PlainTextResponse("ok\n")


def _explain(site: Site, request: Request, error: RunnerError) -> Response:
    kinds: dict[type[RunnerError], int] = {Unknown: 404, NotWritable: 409, HistoryError: 503}
    status = next((status for kind, status in kinds.items() if isinstance(error, kind)), 400)
    return _error_page(site, request, status, str(error))


def _explain_status(site: Site, request: Request, error: HTTPException) -> Response:
    path = request.url.path
    if error.status_code == 404 and re.fullmatch(r"(/[\w.-]+)+/", path, re.ASCII):
        # Relative: Starlette's own redirection is absolute, which is wrong behind a proxy.
        return RedirectResponse(f"../{path[:-1].rpartition('/')[2]}", 307)
    what = {404: "there is no such page", 405: "this address is for a button of a page; go back and press it"}
    return _error_page(site, request, error.status_code, what.get(error.status_code, error.detail))


def _explain_defect(site: Site, request: Request, _error: Exception) -> Response:
    _log.error("the page %s failed; the traceback follows", harmless(request.url.path))
    return _error_page(site, request, 500, "this page failed because of a defect in runner; its log says more")


def _error_page(site: Site, request: Request, status: int, message: str) -> Response:
    """Return a page with one line; it asks the database nothing, which may be what has failed."""
    message = harmless(scrub(message))
    if request.url.path.endswith(".json"):
        return Response("".join(formats.to_json({"error": message})), status, media_type="application/json")
    html = rendering.render(
        "error.html",
        status=status,
        message=message,
        root=links.prefix(request.url.path),
        here=request.url.path,
        now=site.clock(),
        notice=site.options.notice,
        asked=request.query_params if status == 400 else QueryParams(),
    )
    return Response(html, status, media_type="text/html")
