"""The layer store: layers by key, records of images and systems, maintenance and export."""
