"""The layer store: layers by key, assembled images, systems, maintenance and export."""
