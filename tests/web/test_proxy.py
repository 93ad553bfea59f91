"""Behind a real nginx, below a path: every link of every page leads to a page."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from conftest import until
from web_harness import Served, find_free_port

from runner.web.pages import PAGES

_CONFIGURATION = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{}}
http {{
  access_log off;
  {paths}
  server {{
    listen 127.0.0.1:{port};
    location /runner/ {{ proxy_pass {address}; }}
  }}
}}
"""
_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# How many addresses of one form are opened.
_SAME = 3


@pytest.fixture
def behind_nginx(demo_site: Served, tmp_path: Path) -> Iterator[str]:
    """Return the address of the demo's pages behind nginx."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert nginx, "the tests of the pages need nginx; install it, `apt-get install nginx-light` on Debian"
    port = find_free_port()
    paths = "".join(f"{name}_temp_path {tmp_path}/{name};\n" for name in _PATHS)
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=tmp_path, port=port, paths=paths, address=demo_site.address)
    )
    with subprocess.Popen([nginx, "-e", tmp_path / "error.log", "-c", configuration]) as process:
        address = f"http://127.0.0.1:{port}/runner/"
        try:
            until(lambda: process.poll() is not None or _answers(address), "nginx")
            yield address
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code < 500
    except httpx.TransportError:
        return False


def test_every_link_works_below_a_path(behind_nginx: str) -> None:
    pending, opened, seen = [behind_nginx], Counter[str](), {behind_nginx}
    with httpx.Client(timeout=20) as client:
        while pending:
            address = pending.pop(0)
            answer = client.get(address)
            assert answer.status_code in {200, 307}, address
            links = [answer.headers["location"]] if answer.is_redirect else []
            if "html" in answer.headers.get("content-type", ""):
                links = [unescape(link) for link in re.findall(r'(?:href|src|action)="([^"]*)"', answer.text)]
            for link in {urljoin(address, link).partition("#")[0] for link in links} - seen:
                seen.add(link)
                assert link.startswith(behind_nginx), f"{address} leads to {link}"
                opened[_form(link)] += 1
                if opened[_form(link)] <= _SAME:
                    pending.append(link)
    paths = {_form(link).partition("?")[0].removeprefix("/runner") for link in seen}
    unreachable = {re.sub(r"\{\w+\}", "0", pattern) for pattern in PAGES} - paths
    assert set() == unreachable - {"/calibrations/0"}


def _form(link: str) -> str:
    """Return the path with every number as 0, and the names in the query."""
    parts = urlsplit(link)
    names = sorted({pair.partition("=")[0] for pair in parts.query.split("&")})
    return f"{re.sub('[0-9]+', '0', parts.path)}?{' '.join(names)}"
