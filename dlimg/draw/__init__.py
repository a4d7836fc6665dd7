"""Cells and their locks in; Dockerfiles, tags, labels, keys, plans and bake files out. Pure."""
