"""What a request must satisfy before any page sees it, and the headers that every answer gets."""

import hmac
import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runner.web.site import Options

_MOST_URL_BYTES = 4_096
_MOST_HEADER_BYTES = 32_768
_MOST_BODY_BYTES = 65_536
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware that refuses what does not come from the user's own browser or is too large."""

    def __init__(self, app: ASGIApp, options: Options) -> None:
        self._app = app
        self._options = options
        self._cookie = f"runner-{options.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-cache, private")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_own_name(headers.getlist("host"), scope):
            return _text("this server is not addressed by this name; allow it with --allow-host", 421)
        if len(scope["raw_path"]) + len(scope["query_string"]) > _MOST_URL_BYTES:
            return _text("the address is too long", 414)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _MOST_HEADER_BYTES:
            return _text("the headers are too large", 431)
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            return _text("pages are read by GET", 405, Allow="GET, HEAD, POST")
        if scope["method"] == "POST" and (refusal := _refuse_action(headers)):
            return refusal
        return self._demand_token(scope, headers) if self._options.token else None

    def _is_own_name(self, hosts: list[str], scope: Scope) -> bool:
        """Return whether the Host header, of which there must be one, names this server."""
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        name = match["name"].lower()
        if name in {"localhost", *(host.lower() for host in self._options.hosts)}:
            return True
        try:
            address = IPv6Address(name[1:-1]) if name.startswith("[") else IPv4Address(name)
            return address.is_loopback or address == ip_address(scope["server"][0])
        except ValueError:
            return False

    def _demand_token(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] != "POST" and any(key == "token" and self._is_token(value) for key, value in query):
            return self._exchange(scope["raw_path"], [pair for pair in query if pair[0] != "token"])
        # The cookies of other servers on this machine may be malformed.
        cookie = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
        bearer = headers.get("authorization", "").partition("Bearer ")[2]
        if self._is_token(cookie) or self._is_token(bearer):
            return None
        return _text("open the address that `runner web` has printed, with its token", 401)

    def _exchange(self, path: bytes, query: list[tuple[str, str]]) -> Response:
        """Return the redirection to an address without the token, which a cookie has from now on."""
        # Relative, because the path under which a proxy shows the page is not known here.
        target = "./" + path.rpartition(b"/")[2].decode("latin-1") + (f"?{urlencode(query)}" if query else "")
        response = RedirectResponse(target, 303)
        path_of_cookie = f"{self._options.root_path}/"
        response.set_cookie(self._cookie, self._options.token, path=path_of_cookie, httponly=True, samesite="strict")
        return response

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._options.token.encode())


def _refuse_action(headers: Headers) -> Response | None:
    if not _is_own_origin(headers):
        return _text("actions are started from the pages of this server only", 403)
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return _text("an action needs a length", 411)
    return _text("the request is too large", 413) if int(length[:20]) > _MOST_BODY_BYTES else None


def _is_own_origin(headers: Headers) -> bool:
    """Return whether a POST comes from a page of this server, or from no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _text(line: str, status: int, **headers: str) -> Response:
    return PlainTextResponse(f"{line}\n", status, headers)
