"""A search over a configuration's values with Ray Tune: each trial is a run of its own."""
