"""Benchmarks: programs that print tables of ratios, never tests that time."""
