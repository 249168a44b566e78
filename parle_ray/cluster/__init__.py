"""Ray round the two machines: it adds distance, never mathematics."""
