"""A reader of the pages: asks the application without a socket."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from runner.history.database import locate
from runner.web.app import make_app
from runner.web.site import Options, Site


class Reader:
    """Asks for the pages of a database."""

    def __init__(self, site: Site) -> None:
        self._transport = httpx.ASGITransport(app=make_app(site), raise_app_exceptions=False)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Return the answer to a request."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    def text(self, path: str) -> str:
        """Return a page that exists."""
        response = self.get(path)
        assert 200 == response.status_code, response.text
        return response.text


@contextmanager
def reading(place: str) -> Iterator[Reader]:
    """Yield a reader of the database at a place."""
    site = Site(locate(place), Options())
    yield Reader(site)
    site.close()
