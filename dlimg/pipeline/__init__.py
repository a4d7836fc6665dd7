"""The work of the commands: read a project, plan, build, test and publish its images."""
