"""A replica in the loop of Lightning or of transformers: one callback each, imported on use."""
