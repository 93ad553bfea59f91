"""One run, from its start to its saved history."""
