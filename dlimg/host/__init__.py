"""The host: child processes, interrupts, folders, locks, git, NVIDIA's driver."""
