"""Compatibility rules over combinations of versions and hardware, and what people ask of them."""
