"""The engine room: the only one that starts processes or opens the container engine's socket.

In come the environment, what the user allows, and operating systems. Out come an `Engine`
(found, or started as a private one), the `Base` of each operating system, and the `Outcome`
of every command that other rooms need.
"""
