"""Walking a tree and matching names; the standard library only, no job and no database."""
