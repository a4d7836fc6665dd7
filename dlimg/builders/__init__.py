"""Building images with BuildKit or from layers: builders, executors, secrets, disk space."""
