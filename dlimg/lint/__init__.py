"""The matrix against the facts: what runs nowhere, what has ended, what is in nobody's way yet.

In come a matrix with its cells and locks, the facts, a day, and what was asked of an index and of
registries, if anything was. Out come findings, each with its place and what to do. Pure.
"""
