"""The systemd unit of the daemon, for the system or for a user."""

import os
import re
from collections.abc import Sequence
from string import Template

from runner.model.bundled import bundled
from runner.model.errors import UsageError
from runner.operations.service_files import Service

_PLAIN = re.compile(r"[A-Za-z0-9/@:,._+=-]+", re.ASCII)
# What systemd refuses in the path of a program, though not in an argument; `\udc80` and on are undecodable bytes.
_NOT_IN_PROGRAM = re.compile(r"[\x00-\x1f\x7f\"'\\\udc80-\udcff]")
# Protect… makes mounts, for which a user's manager has no privileges.
_SYSTEM_ONLY = {"After", "Wants", "User", "ProtectSystem", "ProtectKernelTunables", "ProtectControlGroups"}


def systemd_unit(service: Service) -> bytes:
    """Render the unit of a service from its template.

    Raises:
        UsageError: If systemd has no way to express it.
    """
    is_user_unit = service.account is None
    omitted = set(_SYSTEM_ONLY) if is_user_unit else set()
    omitted.add("RestartPreventExitStatus" if service.server else "Wants")  # a server may come back
    values = {
        "user": service.account,
        "command": exec_start(service.command),
        "target": "default.target" if is_user_unit else "multi-user.target",
    }
    lines: list[str] = []
    for line in (bundled("data") / "runner.service").read_text("utf-8").splitlines():
        key = line.partition("=")[0]
        if key == "Environment":
            lines += [f"Environment={_assignment(name, value)}" for name, value in service.environment.items()]
        elif key not in omitted and not line.startswith("#"):
            lines.append(Template(line).substitute(values))
    return "".join(f"{line}\n" for line in lines).encode()


def is_unit(content: bytes) -> bool:
    """Return whether a file is a unit that :func:`systemd_unit` rendered, however it was edited."""
    return b"X-Runner=daemon" in map(bytes.strip, content.splitlines())


def exec_start(command: Sequence[str]) -> str:
    """Format a command, its program given by an absolute path, for ``ExecStart=``.

    Source:
        systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting".
    """
    words = list(command)
    if _NOT_IN_PROGRAM.search(words[0]):
        words = ["/bin/sh", "-c", 'exec "$0" "$@"', *words]
    if any("$" in word for word in words):
        # The colon disables substitution. `$$` would not do: it stays as it is in the program's path.
        words[0] = f":{words[0]}"
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """Quote a word so that systemd reads it unchanged, with specifiers and bytes escaped."""
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
