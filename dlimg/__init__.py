"""dlimg: matrix + facts + locks -> cells -> images -> built -> tested -> published."""

__version__ = "0.1.0"
