"""matrix.yaml to resolved cells. Pure."""
