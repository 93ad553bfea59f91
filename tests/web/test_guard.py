import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import httpx
import pytest
from browsing import served
from conftest import until
from history_examples import some_job
from sqlalchemy import update

from runner.history.database import Database, locate
from runner.history.jobs import get_job, set_paused
from runner.history.tables import jobs
from runner.model.errors import HistoryError
from runner.web import server
from runner.web.pages import PAGES
from runner.web.site import Options, Site

TOKEN = "Q2fjYvNnX0v3YQeJ"  # noqa: S105  of a test
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def client(history: Database) -> Iterator[httpx.Client]:
    with served(str(history.location)) as client:
        yield client


@pytest.fixture
def acting(history: Database) -> Iterator[httpx.Client]:
    with served(str(history.location), Options(allow_actions=True, hosts=("docs.example.org",))) as client:
        yield client


@pytest.fixture
def locked(history: Database) -> Iterator[httpx.Client]:
    with served(str(history.location), Options(token=TOKEN, port=8321, root_path="/runner")) as client:
        yield client


def exchange(client: httpx.Client, *lines: str) -> bytes:
    """Send lines as they are and return all that is answered until the end of the connection."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def status_with(client: httpx.Client, *headers: str, target: str = "/healthz", method: str = "GET") -> int:
    return int(exchange(client, f"{method} {target} HTTP/1.1", *headers, "Connection: close").split()[1])


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:1", "LocalHost:8321", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:8321", "[0:0::1]"],
)
def test_own_names_are_answered(client: httpx.Client, host: str) -> None:
    assert 200 == status_with(client, f"Host: {host}")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil.example:8321", "localhost:80@evil", "localhost@evil"),
        *("evil@localhost", "localhost:80:80", "localhost:", "localhost:123456", "localhost:8a", "localhost/", ""),
        *("[::1", "::1", "[::1]evil", "[::2]", "[127.0.0.1]", "10.0.0.1", "0x7f.1", "127.1", "0", "localhost."),
        *("localhost, evil", "localhost evil", "localhost#", "localhost?", "localhost\t1", "127.0.0.1.nip.io"),
    ],
)
def test_other_names_are_not(client: httpx.Client, host: str) -> None:
    assert status_with(client, f"Host: {host}") in {400, 421}


def test_there_is_one_host(client: httpx.Client) -> None:
    assert status_with(client, "Host: localhost", "Host: evil.example") in {400, 421}
    assert status_with(client, "X-Forwarded-Host: localhost") in {400, 421}
    assert b"421" in exchange(client, "GET / HTTP/1.0").splitlines()[0]


def test_target_with_a_host_changes_nothing(client: httpx.Client) -> None:
    assert 404 == status_with(client, "Host: localhost", target="http://evil.example/healthz")
    assert 421 == status_with(client, "Host: evil.example", target="http://localhost/healthz")


def test_allowed_name_is_answered(acting: httpx.Client) -> None:
    assert 200 == status_with(acting, "Host: Docs.Example.org:443")
    assert 421 == status_with(acting, "Host: sub.docs.example.org")


@pytest.mark.parametrize("address", ["/", "/healthz", "/nothing", "/static/app.css", "/runs/x", "/runs/99.json"])
def test_every_answer_has_the_headers(client: httpx.Client, address: str) -> None:
    headers = client.get(address).headers
    assert POLICY == headers["content-security-policy"]
    assert ("nosniff", "no-referrer") == (headers["x-content-type-options"], headers["referrer-policy"])
    assert "server" not in headers


def test_defect_shows_no_traceback_and_has_the_headers(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("runner.history.revision.find_revision", fail)
    answer = client.get("/")
    assert (500, POLICY) == (answer.status_code, answer.headers["content-security-policy"])
    assert "because of a defect" in answer.text
    assert not {"boom", "Traceback"} & set(answer.text.split())
    assert "the page / failed" in caplog.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused(client: httpx.Client, method: str) -> None:
    assert 405 == status_with(client, "Host: localhost", method=method)


def test_pages_are_not_posted_to(acting: httpx.Client) -> None:
    for path in PAGES:
        assert acting.post(path.replace("{job}", "1").replace("{run}", "1")).status_code in {404, 405}, path


def test_actions_do_not_exist_unless_allowed(client: httpx.Client) -> None:
    for path in ("/jobs/1/run", "/jobs/1/pause", "/jobs/1/resume", "/runs/1/cancel"):
        assert 404 == client.post(path).status_code
        assert 404 == client.get(path).status_code


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://a.proxy"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:1"}, False),
        ({"Origin": "http://localhost:1"}, True),
        ({"Origin": "https://localhost:1"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://localhost:2"}, False),
        ({"Origin": "http://localhost:1@evil.example"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "localhost:1"}, False),
    ],
)
def test_actions_come_from_own_pages(acting: httpx.Client, headers: dict[str, str], *, allowed: bool) -> None:
    status = acting.post("/jobs/1/pause", headers={"Host": "localhost:1", **headers}).status_code
    assert (404 if allowed else 403) == status  # there is no job 1


def test_requests_are_bounded(acting: httpx.Client) -> None:
    assert 414 == acting.get("/runs?job=" + 5_000 * "x").status_code
    assert 431 == acting.get("/", headers={"X-Large": 70_000 * "x"}).status_code
    for length, status in {"65536": 404, "65537": 413, "9" * 15: 413}.items():
        headers = ("Host: localhost", f"Content-Length: {length}")
        with socket.create_connection(("127.0.0.1", acting.base_url.port or 0), timeout=10) as connection:
            connection.sendall("\r\n".join(["POST /jobs/1/pause HTTP/1.1", *headers, "", ""]).encode())
            assert str(status).encode() == connection.recv(99).split()[1], length
    assert 411 == status_with(acting, "Host: localhost", "Transfer-Encoding: chunked", method="POST")


def test_slow_connections_are_closed(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PROGRESS_S", 0.3)
    address = (client.base_url.host, client.base_url.port or 0)
    for beginning in (
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",
    ):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(beginning)
            began_s = time.monotonic()
            try:
                while connection.recv(65_536):
                    pass
            except ConnectionResetError:
                pass
            assert time.monotonic() - began_s < 5


def test_answer_that_is_not_read_is_dropped(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, history: Database
) -> None:
    monkeypatch.setattr(server, "_PROGRESS_S", 0.3)
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect((client.base_url.host, client.base_url.port or 0))
        # Pipelined requests whose answers fill all buffers.
        connection.setblocking(False)  # noqa: FBT003  the argument has no name
        request = b"GET /static/app.css HTTP/1.1\r\nHost: localhost\r\n\r\n"

        def is_closed() -> bool:
            try:
                connection.send(request * 100)
            except BlockingIOError:
                pass
            except OSError:
                return True
            return False

        assert str(history.location)
        until(is_closed, "the end of the connection", 20)


def test_first_address_has_the_token(locked: httpx.Client) -> None:
    assert 401 == locked.get("/").status_code
    assert 401 == locked.get("/?token=wrong").status_code
    assert 401 == locked.get("/revision", headers={"Cookie": "runner-8321=wrong"}).status_code
    answer = locked.get(f"/jobs/1/files?run=2&token={TOKEN}&under=a%26b")
    assert (303, "./files?run=2&under=a%26b") == (answer.status_code, answer.headers["location"])
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"runner-8321={TOKEN}; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/runner/"} <= set(cookie.split("; "))
    assert "./" == locked.get(f"/?token={TOKEN}").headers["location"]


def test_cookie_or_header_opens_pages(locked: httpx.Client) -> None:
    # The cookies of other servers on the same machine come along, also malformed ones.
    cookie = f'a={{"b": 1}}; x y=z; =; runner-1=other; runner-8321={TOKEN}; c'
    assert 200 == locked.get("/healthz", headers={"Cookie": cookie}).status_code
    assert 200 == locked.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code
    assert 401 == locked.get("/metrics", headers={"Authorization": f"Basic {TOKEN}"}).status_code
    # The token leaves the address even if it is not needed any more.
    assert 303 == locked.get(f"/?token={TOKEN}", headers={"Cookie": cookie}).status_code


def test_redirection_leads_nowhere_else(locked: httpx.Client) -> None:
    for path in ("//evil.example", "/https:evil.example", "/%2F%2Fevil.example", "/..//evil", "/%0d%0aX: 1"):
        raw = exchange(
            locked, f"GET {path}?token={TOKEN} HTTP/1.1".replace(" 1?", "?"), "Host: localhost", "Connection: close"
        )
        head = raw.partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nx:" not in head
        assert b"location: ./" in head


def test_token_is_never_logged(
    locked: httpx.Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    locked.get(f"/?token={TOKEN}")
    locked.get(f"/nothing?token={TOKEN}", headers={"Cookie": f"runner-8321={TOKEN}"})
    exchange(locked, f"BROKEN /?token={TOKEN} HTTP/9", f"Cookie: runner-8321={TOKEN}")
    said = capfd.readouterr()
    own = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]  # of the client
    assert TOKEN not in "".join(own) + said.out + said.err
    assert "Invalid HTTP request" in "".join(own)


def test_queries_end_after_a_limit(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.web.site.QUERY_LIMIT_S", 0.0)
    monkeypatch.setattr("runner.history.sqlite._STEPS", 1)
    answer = client.get("/runs")
    assert 503 == answer.status_code
    assert "takes too long to answer" in answer.text


def test_connections_beyond_a_number_are_refused(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 1)
    monkeypatch.setattr(server, "_MORE_CONNECTIONS", 1)
    assert 200 == client.get("/healthz").status_code
    address = (client.base_url.host, client.base_url.port or 0)
    with closing(socket.create_connection(address)), socket.create_connection(address, timeout=10) as third:
        try:
            third.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"" == third.recv(99)
        except ConnectionResetError:
            pass


def test_pages_only_read(place: str, database: Database) -> None:
    some_job(database)
    with closing(Site(locate(place), Options(allow_actions=True))) as site:
        for _ in range(2):
            with pytest.raises(HistoryError, match=r"read-?only"), site.view() as view, view.read() as connection:
                connection.execute(update(jobs).values(paused=True))
    assert not get_job(database, "docs").spec.paused
    set_paused(database, get_job(database, "docs"), datetime.now(UTC), paused=True)
