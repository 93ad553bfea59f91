"""Any name or message as text that cannot drive a terminal, break a table or hide what it is."""

import os
import re
import unicodedata

# Controls, invisible formats (bidirectional overrides, zero-width and joining characters, soft hyphens, tags),
# surrogates, private and unassigned characters, line and paragraph separators. What this Python's Unicode does not
# know has no width a table could count on.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# The escapes; surrogates are only undecodable bytes.
_WRITTEN = re.compile(
    r"\\(?:([\\nrt])|x([0-9a-f]{2})|u((?!d[89a-f])[0-9a-f]{4})|U((?:000[0-9a-f]|0010)[0-9a-f]{4}))", re.ASCII
)


def printable(name: bytes | str) -> str:
    r"""Show a file name so that no two names look alike and none does anything.

    In text, undecodable bytes are surrogates, as ``os.fsdecode`` leaves them. ``\`` becomes ``\\``, an undecodable byte
    or an ASCII control ``\xe9``, ``\n``, ``\r`` or ``\t``, and any other character that hides or controls ``\u202e`` or
    ``\U000e0041``. Everything else, accents and emoji among it, stays. Different names stay different.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return harmless(text.replace("\\", "\\\\"))


def unprinted(shown: str) -> str:
    """Return the text that :func:`printable` shows so, undecodable bytes as surrogates; other text stays."""

    def undo(match: re.Match[str]) -> str:
        short, byte, *codes = match.groups()
        if short is not None:
            return {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}[short]
        return os.fsdecode(bytes.fromhex(byte)) if byte else chr(int(codes[0] or codes[1], 16))

    return _WRITTEN.sub(undo, shown)


def harmless(text: str) -> str:
    """Escape as :func:`printable` does, but leave backslashes alone: for messages, and safe to apply twice."""
    if text.isprintable():
        return text
    return "".join(
        _escape(character) if unicodedata.category(character) in _ESCAPED else character for character in text
    )


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return _SHORT.get(character, f"\\x{code:02x}")
    # C1 controls are characters, not bytes: as \x85 they would read like an undecodable byte.
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
