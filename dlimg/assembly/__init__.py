"""Images assembled from layers: wheels, systems, byte code and a cell's own files to layers."""
