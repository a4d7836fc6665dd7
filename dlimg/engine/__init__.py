"""Container engines: discovery, the Docker SDK, dlimg's private engine, GPUs and base images."""
