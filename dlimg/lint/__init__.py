"""Findings about a matrix and its locks. Pure."""
