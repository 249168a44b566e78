"""Faults on purpose: a seeded storm over a run, a command and a pytest fixture for it."""
