"""The state of a process from the kernel."""


def process_stat(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat from the state on, as in proc_pid_stat(5); None if there is no such file."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  pathlib takes as long to import as Python to start
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):  # it has been collected or is hidden, or this is not Linux
        return None
    # The name in front may hold anything, parentheses and blanks too.
    return stat[stat.rindex(b")") + 2 :].split()
