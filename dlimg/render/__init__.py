"""Cells and locks to Dockerfiles, tags, labels, content keys and plans. Pure."""
