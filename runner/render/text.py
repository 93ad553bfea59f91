"""Any name or message as text that cannot drive a terminal, break a table or hide what it is."""

import unicodedata

# Controls, invisible formats (bidirectional overrides, zero-width and joining characters, soft hyphens, tags),
# surrogates, private and unassigned characters, line and paragraph separators. What this Python's Unicode does not
# know has no width a table could count on.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(name: bytes | str) -> str:
    r"""Show a file name so that no two names look alike and none does anything.

    Args:
        name: A path as the kernel has it, or text; undecodable bytes in text are surrogates, as ``os.fsdecode`` leaves
            them.

    Returns:
        The name with ``\`` as ``\\``, an undecodable byte or an ASCII control as ``\xe9``, ``\n``, ``\r`` or ``\t``,
        and any other character that hides or controls as ``\u202e`` or ``\U000e0041``. Everything else, accents and
        emoji among it, stays. Different names stay different.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return harmless(text.replace("\\", "\\\\"))


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
