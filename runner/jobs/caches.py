"""Where incremental scans remember their trees: in the platform's user cache folder, a file for each job.

What is there can be rebuilt and is no history: losing it costs one full scan.
"""

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import platformdirs

from runner.history.database import Database
from runner.model.jobs import Job


def cache_file(database: Database, job: Job) -> Path:
    """Tell where a job's incremental scans remember its tree."""
    # Jobs have numbers in their database alone.
    where = blake2b(str(database.location).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return platformdirs.user_cache_path("runner") / where / f"job-{job.job_id}"


def forget(database: Database, job: Job) -> None:
    """Remove what a job's incremental scans remember; the next one reads everything."""
    with suppress(OSError):  # it may never have been, and can be overwritten
        cache_file(database, job).unlink()
