"""The experiments of the paper, by name."""
