"""The daemon as a unit of systemd, the system's or a user's own."""

import os
import re
from collections.abc import Sequence

from runner.model.errors import UsageError
from runner.operations.service_files import Service

_PLAIN = re.compile(r"[A-Za-z0-9/@:,._+=-]+", re.ASCII)
# What systemd refuses in the path of a program, though not in an argument; `\udc80` and on are undecodable bytes.
_NO_PROGRAM = re.compile(r"[\x00-\x1f\x7f\"'\\\udc80-\udcff]")

# What tells a unit of runner from others, whatever else is changed in it; systemd ignores what begins with X-.
_MARK = "X-Runner=daemon"
_UNIT = f"""\
[Unit]
Description=runner, scheduled scans of directory trees
{_MARK}
"""
# Before the remote file systems are mounted, all that lies in them would seem to be removed.
_SYSTEM_ORDER = """\
After=remote-fs.target time-sync.target network-online.target postgresql.service
"""
_WANTS_NETWORK = """\
Wants=network-online.target
"""

_SERVICE = """\

[Service]
Type=notify
NotifyAccess=main
"""
# An upgrade of the database may take its time. The daemon's loop waits for the database, at times more than once in a
# row, so the watchdog has patience. Ending, it gives a run five seconds, and writes down what it owes the history, for
# which it takes half a minute at most while another program locks that; it is gone within 45 seconds whatever it waits
# for.
_CARE = """\
ExecReload=/bin/sh -c "kill -HUP ${MAINPID}"
TimeoutStartSec=infinity
WatchdogSec=5min
KillMode=mixed
TimeoutStopSec=60
Restart=on-failure
RestartSec=10
"""
# Settings that are wrong stay wrong; a server that can't be reached may come back.
_NO_RESTART = """\
RestartPreventExitStatus=2
"""
# Nothing here hides a tree that is to be scanned: no PrivateTmp, no ProtectHome. These work without privileges; those
# below make mounts of their own, which only the system's manager may do.
_HARDENING = """\
NoNewPrivileges=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
"""
_SYSTEM_HARDENING = """\
ProtectSystem=full
ProtectKernelTunables=yes
ProtectControlGroups=yes
"""


def systemd_unit(service: Service) -> bytes:
    """Write the unit of a service.

    Raises:
        UsageError: If systemd has no way to express it.
    """
    own = service.account is None
    parts = [
        _UNIT,
        "" if own else _SYSTEM_ORDER,
        _WANTS_NETWORK if service.server and not own else "",
        _SERVICE,
        "" if own else f"User={service.account}\n",
        *(f"Environment={_assignment(name, value)}\n" for name, value in service.environment.items()),
        f"ExecStart={exec_start(service.command)}\n",
        _CARE,
        "" if service.server else _NO_RESTART,
        _HARDENING,
        "" if own else _SYSTEM_HARDENING,
        f"\n[Install]\nWantedBy={'default' if own else 'multi-user'}.target\n",
    ]
    return "".join(parts).encode()


def is_unit(content: bytes) -> bool:
    """Whether a file is a unit that :func:`systemd_unit` wrote, whatever was changed in it since."""
    return _MARK.encode() in map(bytes.strip, content.splitlines())


def exec_start(command: Sequence[str]) -> str:
    """Write a command, its program given by an absolute path, for ``ExecStart=``.

    Source:
        systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting".
    """
    words = list(command)
    if _NO_PROGRAM.search(words[0]):
        words = ["/bin/sh", "-c", 'exec "$0" "$@"', *words]
    if any("$" in word for word in words):
        # Nothing is substituted then. `$$` would not do: it stays as it is in the program's path.
        words[0] = f":{words[0]}"
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """Write a word so that systemd reads it as it is: quoted where need be, specifiers and bytes escaped."""
    text = os.fsencode(word).decode("utf-8", "surrogateescape")
    if _PLAIN.fullmatch(text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character == "%":
        return "%%"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _assignment(name: str, value: str) -> str:
    if not value.isprintable():
        raise UsageError(f"{name} holds what systemd takes into no environment: {value!r}; choose another place")
    return quoted(f"{name}={value}")
