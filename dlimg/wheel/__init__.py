"""Wheels: the zip archive, metadata, RECORD, and where an installer places each member."""
