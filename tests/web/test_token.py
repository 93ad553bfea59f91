"""A server that other machines reach: nothing without its token."""

import asyncio
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from runner.history.database import locate
from runner.web.app import make_app
from runner.web.site import Options, Site

_TOKEN = "secret"  # noqa: S105  of a test


@pytest.mark.parametrize(
    "given", ["", "wrong", "secre", "secrett", "SECRET", "\xff", "a" * 3000, "secret\x00", "%73ecret%00"]
)
def test_forged_tokens_are_refused(demo_history: Path, given: str) -> None:
    asyncio.run(_try_token(demo_history, given))


async def _try_token(history: Path, given: str) -> None:
    with closing(Site(locate(str(history)), Options(token=_TOKEN, port=1))) as site:
        transport = httpx.ASGITransport(app=make_app(site))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in ("/", "/runs", "/runs.json", "/revision", "/healthz", "/static/app.css"):
                assert 401 == (await client.get(path, params={"token": given})).status_code
                cookie = b"runner-1=" + given.encode()
                assert 401 == (await client.get(path, headers={b"cookie": cookie})).status_code
            assert 303 == (await client.get("/", params={"token": _TOKEN})).status_code
            assert 200 == (await client.get("/")).status_code
