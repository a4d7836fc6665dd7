"""YAML text as a tree with line numbers, and checks of its values. Pure."""
