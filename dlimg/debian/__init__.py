"""Debian and Ubuntu: apt sources, packages, bootstrapped root file systems, chroots."""
