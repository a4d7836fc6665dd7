"""A run written for other tools: from its specification to text. Pure."""
