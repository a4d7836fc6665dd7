"""A tested image comes in; its names at a registry, each read back, go out (design.md, D7)."""
