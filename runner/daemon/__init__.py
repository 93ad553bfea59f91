"""The scheduler: what is due, one daemon per database, signals and recovery."""
