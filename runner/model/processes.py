"""What the kernel tells of a process."""


def process_stat(pid: int) -> list[bytes] | None:
    """Give what Linux tells of a process, from its state on; None where it tells nothing.

    Raises:
        PermissionError: If it is not told to this user.

    Source:
        proc_pid_stat(5), field 3 and those behind it.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  pathlib takes as long to import as Python to start
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):  # it has been collected or is hidden, or this is not Linux
        return None
    # The name in front may hold anything, parentheses and blanks too.
    return stat[stat.rindex(b")") + 2 :].split()
