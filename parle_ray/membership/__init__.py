"""Who takes part, whom to ask, who has answered, how long to wait, how far each walks. No I/O."""
