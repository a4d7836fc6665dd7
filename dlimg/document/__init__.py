"""YAML text to a tree that knows its lines, and checks of what stands in it. Pure."""
