"""What `python -m parle_ray` does: from a YAML file and arguments to a run and its last line."""
