"""Job options, their validation and warnings, and the job file."""
