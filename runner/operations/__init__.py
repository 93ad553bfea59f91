"""What surrounds the daemon: notifications, metrics and service files."""
