"""Results as tables, text, JSON, JUnit, Markdown and SVG. Pure."""
