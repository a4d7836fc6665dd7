"""Compatibility rules over combinations of versions and hardware, and answers to questions. Pure."""
