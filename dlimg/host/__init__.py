"""This host: child processes, interrupts, the user's folders and locks, git, NVIDIA's driver."""
