"""The launchd property list of the daemon, for the system or for a user."""

import plistlib

from runner.model.errors import UsageError
from runner.operations.service_files import LABEL, Service


def launchd_plist(service: Service) -> bytes:
    """Render the property list of a service, see launchd.plist(5); raise UsageError if XML can't express it."""
    for text in (*service.command, *service.environment.values()):
        if not text.isprintable():
            raise UsageError(f"{text!r} can't be written into a property list; choose another place for it")
    log = str(service.home / "Library/Logs/runner.log")
    job = {
        "Label": LABEL,
        "ProgramArguments": list(service.command),
        "RunAtLoad": True,
        # launchd can't distinguish wrong settings from other failures: it restarts, but not too often.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 30,
        # Other types are throttled, which distorts timings.
        "ProcessType": "Interactive",
        # The daemon ends within 45 seconds.
        "ExitTimeOut": 60,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    if service.environment:
        job["EnvironmentVariables"] = dict(service.environment)
    if service.account is not None:
        job["UserName"] = service.account
    return plistlib.dumps(job, sort_keys=False)


def is_plist(content: bytes) -> bool:
    """Return whether a file is a property list that :func:`launchd_plist` rendered, however it was edited."""
    try:
        job = plistlib.loads(content)
    except Exception:  # noqa: BLE001  the parser raises errors of many kinds
        return False
    return isinstance(job, dict) and job.get("Label") == LABEL
