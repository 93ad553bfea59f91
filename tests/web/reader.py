"""A reader of the pages of a real server."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from browsing import served


class Reader:
    """Asks for pages."""

    def __init__(self, client: httpx.Client) -> None:
        self.get = client.get

    def text(self, path: str) -> str:
        """Return a page that exists."""
        response = self.get(path)
        assert 200 == response.status_code, response.text
        return response.text


@contextmanager
def reading(place: str) -> Iterator[Reader]:
    """Yield a reader of the database at a place."""
    with served(place) as client:
        yield Reader(client)
