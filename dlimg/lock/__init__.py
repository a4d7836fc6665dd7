"""Cells to exact wheels: requests to uv, lock files, and their comparison."""
