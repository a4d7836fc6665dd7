"""The two builders, BuildKit and layers, and what both need: space, secrets, progress."""
