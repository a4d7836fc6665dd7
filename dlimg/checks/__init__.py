"""Check scripts: discovery, inputs, containers, execution, verdicts and evidence."""
