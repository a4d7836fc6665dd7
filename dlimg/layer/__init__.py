"""The format of layers: entries, tar, compression, whiteouts, and differences of file systems."""
