"""The paper's claims put to the test: one task, several methods and seeds, the same budget."""
