"""Runs: a folder's command in a container of an image, with its data, output and record."""
