"""Planned images come in; built images in the engine, or the step at which each failed, go out."""
