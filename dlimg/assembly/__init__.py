"""Assembling of images: wheels, systems, byte code and a cell's files become layers."""
