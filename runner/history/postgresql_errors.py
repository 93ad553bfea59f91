"""Messages for the errors of a PostgreSQL server and its driver."""

import re
import socket

from runner.model.errors import DatabaseUnusable, HistoryError, NotWritable, reason_of

# admin_shutdown, crash_shutdown, cannot_connect_now.
_SHUT_DOWN = frozenset({"57P01", "57P02", "57P03"})
# The beginnings of the driver's errors before there is a connection; the rest may be in the server's language.
_CONNECTING = ("connection failed", "connection is bad", "connection timeout", "failed to resolve")
# How a server refuses a wrong URL (there is no code). Other refusals are temporary: too many connections, a restart.
_WRONG = re.compile(
    r"authentication failed|does not exist|pg_hba\.conf|permission denied|not permitted|no password|invalid"
    r"|unrecognized|unsupported|not currently accepting connections"
)


def explain(where: str, error: BaseException | None) -> HistoryError:  # noqa: PLR0911  a table
    """Return an error of one line, about the database named *where*, for an error of the driver."""
    import psycopg

    # The first of several addresses that were tried, without the part that repeats the URL.
    line = (str(error).splitlines() or [reason_of(error)])[0]
    reason = line.rpartition(" failed: ")[2]
    match getattr(error, "sqlstate", None):
        case "55P03":
            return HistoryError(f"{where} is locked by another program; try again when that has finished")
        case "53100":
            return HistoryError(f"{where} can't grow: the disk is full; free some space and try again")
        case "25006":
            return NotWritable(f"{where} is read-only: {reason}; make it writable, or choose another")
        case "42501":
            return NotWritable(
                f"{where} is closed or read-only to this user: {reason}; ask for the right to, or choose another"
            )
        case None if line.startswith(_CONNECTING) and not reason.startswith("FATAL:"):
            # An unknown host name is a wrong URL rather than a server that is down.
            unknown = line.startswith("failed to resolve") and f"[Errno {socket.EAI_AGAIN}]" not in line
            refusal = DatabaseUnusable if unknown else HistoryError
            return refusal(f"{where} can't be reached: {reason}; start its server, or choose another")
        case None if line.startswith(_CONNECTING) and not _WRONG.search(reason):
            reason = reason.removeprefix("FATAL:").strip()
            return HistoryError(f"{where} can't be reached now: {reason}; try again later")
        case None if line.startswith(_CONNECTING) or isinstance(error, psycopg.ProgrammingError):
            reason = reason.removeprefix("FATAL:").strip()
            return DatabaseUnusable(f"{where} can't be opened: {reason}; check its URL, or choose another")
        case "53300" | "53200" | "53400":
            return HistoryError(f"{where} lacks resources now: {reason}; try again later")
        case state if state in _SHUT_DOWN or (not state and isinstance(error, psycopg.OperationalError)):
            return HistoryError(f"{where} can't be reached any more: {reason}; try again when its server is back")
        case _:
            return HistoryError(f"{where} can't be used: {reason}")
