"""The local machine: child processes, folders and locks of the user, NVIDIA's driver."""
