"""The files in which the incremental scans of each job remember its tree; a lost file costs one full scan."""

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import platformdirs

from runner.history.database import Database
from runner.model.jobs import Job


def cache_file(database: Database, job: Job) -> Path:
    """Return the file in which a job's incremental scans remember its tree."""
    # A job's number is unique only within its database.
    digest = blake2b(str(database.location).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return platformdirs.user_cache_path("runner") / digest / f"job-{job.job_id}"


def remove_cache(database: Database, job: Job) -> None:
    """Remove the file of a job; its next incremental scan reads every directory."""
    with suppress(OSError):  # it may not exist, and can be overwritten
        cache_file(database, job).unlink()
