"""Image layers: entries, tar, gzip, zstd, whiteouts and differences of root file systems."""
