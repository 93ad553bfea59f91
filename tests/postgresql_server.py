"""A real PostgreSQL server for the tests, where one is installed: in a scratch folder, reached by a socket in it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

# A role with a password, beside the one that needs none.
_ACCESS = "local all locked scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n"
# The cluster is thrown away, so nothing of it has to reach the disk.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "shared_buffers": "32MB",
}


@dataclass
class PostgresqlServer:
    """A server that runs: where its socket and files are, where its programs, who runs it, and with what settings."""

    folder: Path
    binaries: Path
    owner: str
    settings: Mapping[str, str]
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, name: str, user: str = "runner") -> str:
        """Name a database; *user* may have a password."""
        return f"postgresql://{user}@/{name}?host={self.folder}"

    def do(self, *statements: str, name: str = "postgres") -> None:
        """Run statements as the server's superuser, each by itself."""
        import psycopg

        with psycopg.connect(host=str(self.folder), user="runner", dbname=name, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextmanager
    def fresh(self, template: str = "template0") -> Iterator[str]:
        """Make a database, and drop it in the end; gives its name."""
        name = f"fresh{next(self._numbers)}"
        self.do(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            self.do(f"DROP DATABASE {name} WITH (FORCE)")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {name}='{value}'" for name, value in self.settings.items())
        options += f" -c unix_socket_directories='{self.folder}'"
        log = self.folder / "log"
        self.call(
            "pg_ctl", "start", "--wait", f"--pgdata={self.folder / 'data'}", f"--log={log}", f"--options={options}"
        )

    def stop(self) -> None:
        """Stop it at once, with its connections."""
        self.call("pg_ctl", "stop", "--wait", "--mode=immediate", f"--pgdata={self.folder / 'data'}")

    def call(self, program: str, *arguments: str) -> str:
        """Run one of its programs as its owner, in a folder that the owner may enter."""
        command = [str(self.binaries / program), *arguments]
        user = self.owner if os.geteuid() == 0 else None
        group = pwd.getpwnam(self.owner).pw_gid if user else None
        # What a server leaves open would keep a pipe from ever ending.
        with tempfile.TemporaryFile() as out:
            done = subprocess.run(
                command, check=False, cwd=self.folder, user=user, group=group, extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
            out.seek(0)
            said = out.read().decode()
        assert 0 == done.returncode, said
        return said


@contextmanager
def running_server(**settings: str) -> Iterator[PostgresqlServer]:
    """Run a server of its own meanwhile, with some settings; skips the test where none is installed."""
    binaries = _find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed")
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    users = {user.pw_name for user in pwd.getpwall()}
    owner = "postgres" if "postgres" in users else "nobody"
    # pytest's own folders are closed to others than their owner, and the path of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="runner-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, owner)
    server = PostgresqlServer(folder, binaries, owner, {**_SETTINGS, **settings})
    try:
        server.call(
            "initdb", "--username=runner", "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8",
            f"--pgdata={folder / 'data'}",
        )  # fmt: skip
        (folder / "data" / "pg_hba.conf").write_text(_ACCESS)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _find_binaries() -> Path | None:
    """Find the folder of a server's programs; Debian keeps it off the path."""
    newest_last = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    for folder in (*map(Path, os.get_exec_path()), *reversed(newest_last)):
        if all(os.access(folder / program, os.X_OK) for program in ("initdb", "pg_ctl", "postgres")):
            return folder
    return None
