"""Executions: each a trial in a process of its own, started, watched and reaped."""
