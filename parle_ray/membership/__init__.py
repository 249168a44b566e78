"""Who takes part, who is asked, who has answered, how long is waited. No I/O, no vectors."""
