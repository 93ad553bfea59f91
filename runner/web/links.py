"""Addresses of pages: relative, so that they work below any path, and safe for any name."""

import base64
import binascii
from urllib.parse import quote, urlencode

from runner.model.errors import UsageError


def prefix(path: str) -> str:
    """Return what leads from the page at *path*, ``/jobs/1/trends``, to the first page: ``../../``."""
    return "../" * (path.count("/") - 1) or "./"


def query(**values: object) -> str:
    """Return a query string, with its question mark, of the values that are not None or empty."""
    given: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, bytes):
            if value:
                given.append(path_parameter(key.rstrip("_"), value))
        elif value not in (None, "", ()):
            given += [(key.rstrip("_"), str(one)) for one in (value if isinstance(value, (list, tuple)) else [value])]
    return "?" + urlencode(given, quote_via=quote) if given else ""


def path_parameter(key: str, path: bytes) -> tuple[str, str]:
    """Return the name and value that carry a path in a query: itself, or ``key64`` where it is not UTF-8."""
    try:
        return key, path.decode("utf-8")
    except UnicodeDecodeError:
        return f"{key}64", base64.urlsafe_b64encode(path).decode("ascii").rstrip("=")


def read_path(text: str | None, encoded: str | None) -> bytes | None:
    """Return the path that :func:`path_parameter` has written; None if neither value is given.

    Raises:
        UsageError: If the encoded one is no base64url.
    """
    if encoded is None:
        return None if text is None else text.encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("the path in the address is not base64url; follow a link to it") from None
