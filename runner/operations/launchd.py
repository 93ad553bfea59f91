"""The daemon as a job of launchd, the system's or a user's own."""

import plistlib

from runner.model.errors import UsageError
from runner.operations.service_files import LABEL, Service


def launchd_plist(service: Service) -> bytes:
    """Write the property list of a service; see launchd.plist(5).

    Raises:
        UsageError: If XML has no way to express it.
    """
    for text in (*service.command, *service.environment.values()):
        if not text.isprintable():
            raise UsageError(f"{text!r} can't be written into a property list; choose another place for it")
    log = str(service.home / "Library/Logs/runner.log")
    job = {
        "Label": LABEL,
        "ProgramArguments": list(service.command),
        "RunAtLoad": True,
        # It can't tell wrong settings from other failures, so it tries again, but not too often.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 30,
        # Others are slowed down, and a measurement of that is none.
        "ProcessType": "Interactive",
        # The daemon's own five seconds for a run, and time to record; it ends itself after 45 seconds.
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
    """Whether a file is a property list that :func:`launchd_plist` wrote, whatever was changed in it since."""
    try:
        job = plistlib.loads(content)
    except Exception:  # noqa: BLE001  the parts of the parser raise whatever what they are given leads to
        return False
    return isinstance(job, dict) and job.get("Label") == LABEL
