"""The daemon: what is due, when it starts, one daemon per database."""
