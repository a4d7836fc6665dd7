"""A published or built image in; the exact command that runs it out. Pure."""
