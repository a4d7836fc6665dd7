"""Building images with BuildKit or from layers: executors, secrets, disk space."""
