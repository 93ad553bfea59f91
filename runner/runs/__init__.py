"""One firing, from its start to its saved history."""
