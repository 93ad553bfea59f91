"""Scheduled scans of directory trees, timed sequentially and through a pool, with persistent history."""
