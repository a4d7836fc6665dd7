"""Package indexes: simple API, wheels, single files out of remote wheels, downloads."""
