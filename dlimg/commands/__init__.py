"""The rim: each command reads files and the environment, walks the rooms, prints, and exits."""
