"""Facts about GPUs, CUDA, Pythons, distributions and frameworks, each with its source."""
