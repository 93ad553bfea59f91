"""Masking of passwords in logs, messages and tracebacks, also in texts that libraries wrote."""

import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

_HIDDEN = "***"
# Shorter ones stand in too many words; where one is named as a password, it is hidden in any case.
_SHORTEST = 4
# What is repeated is bounded, or text made for it would take minutes.
_KEY = r"[\w-]{0,40}(?:passw(?:or)?d|passphrase|pwd|secret|token|api_?key)[\w-]{0,40}"
# As SQLAlchemy reads a URL, but to the last @ of a word: a password in which one is not escaped is hidden whole.
# A path made of a URL with too few slashes is one as well.
_IN_URL = re.compile(r"(?P<before>\w:/{1,3}[^\s:/@'\"]{0,200}:)(?P<secret>[^\s'\"]{1,1000})(?=@)")
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_PARAMETER = re.compile(
    rf"(?P<before>(?<![\w-]){_KEY}(?:['\"]\s*:|\s*=)\s*)(?P<secret>{_QUOTED}|[^\s&'\",;)]+)", re.IGNORECASE
)

# A variable's name, such as PGPASSWORD or DB_PASS, and a value that is a connection string with a password.
_DATABASE_PASSWORD = re.compile(r"(?:PG|POSTGRES|DB|DATABASE|SQL|RUNNER).{0,40}(?:PASS|PWD|SECRET)", re.IGNORECASE)
_CONNECTION = re.compile(r"(?<!\w)(?:ssl)?password\s*=", re.IGNORECASE)

# The passwords that this process was given, each as a pattern of all the ways to write it. A caller that fails may be a
# library that knows nothing of them, so that they have to be known wherever a line is written.
_known: dict[str, re.Pattern[str]] = {}


def scrub(text: str) -> str:
    """Mask the passwords in a text: those that it shows to be ones, and those that this process knows."""
    for pattern in _known.values():
        text = pattern.sub(_HIDDEN, text)
    return _mask(text)


def is_secret_variable(name: str, value: str) -> bool:
    """Return whether a variable of the environment holds a password of a database, as its name or its value shows."""
    known = any(pattern.search(value) for pattern in _known.values())
    return bool(known or _DATABASE_PASSWORD.search(name) or _IN_URL.search(value) or _CONNECTION.search(value))


def keep_secret(url: str) -> None:
    """Record the passwords in a database's URL, so that they are hidden wherever they turn up."""
    shown = _mask(url)
    for secret in _secrets_in(url):
        # One that is also a user's or a database's name is betrayed, not hidden, by blanks in their places.
        if len(secret) >= _SHORTEST and secret not in shown:
            _known[secret] = re.compile("".join(map(_any_spelling, secret)))


def _mask(text: str) -> str:
    for pattern in (_IN_URL, _PARAMETER):
        text = pattern.sub(rf"\g<before>{_HIDDEN}", text)
    return text


def _secrets_in(url: str) -> Iterator[str]:
    if "://" not in url:
        return
    user = re.match(r"[^:]*://[^:/]*:([^@]*)@", url)
    if user is not None:
        yield unquote(user[1])
    for match in re.finditer(rf"[?&]{_KEY}=([^&]*)", url, re.IGNORECASE):
        yield unquote_plus(match[1])


def _any_spelling(character: str) -> str:
    """Return a pattern of the ways in which a character is written: as it is, in a URL, or in a string's repr."""
    encoded = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    spellings = {re.escape(character), f"(?i:{encoded})", re.escape(repr(character)[1:-1])}
    if character == " ":
        spellings.add(r"\+")
    return f"(?:{'|'.join(sorted(spellings))})"
