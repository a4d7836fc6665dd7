"""The matrix file and the cells that it resolves to."""
