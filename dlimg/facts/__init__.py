"""Facts about GPUs, CUDA, Pythons, distributions and framework releases, each with its source. Pure."""
