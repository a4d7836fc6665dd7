"""Values in; text, JSON and tables out. Nothing here prints."""
