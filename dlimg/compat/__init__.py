"""Compatibility rules over combinations of versions and hardware, and answers about them."""
