"""Reading of wheels: the zip archive, the metadata and RECORD, the contents of members."""
