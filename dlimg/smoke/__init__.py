"""Built images and check scripts come in; verdicts, kept as evidence, go out."""
