"""Wheels to image layers, made once and kept, and layers to images.

A wheel is a zip of raw deflate streams with CRC and size in its directory, and a gzip file may
consist of many members: so a layer is written without compressing anything anew.

    directory.py  archive.py  names.py   a wheel's zip structure, strictly
    unpack.py                            a member's bytes, checked while they stream
    wheel.py  record.py  scripts.py      what `.dist-info` says
    scheme.py  own.py                    where members land; what an installer adds to them
    entry.py  tar.py                     entries of a layer to the pieces of a tar
    deflate.py  splice.py                those pieces to a gzip of many members
    index.py  store.py                   layers kept in a folder
    make.py                              the three kinds of layers, through the store
    own_layer.py  parts.py               a cell's own files, and what each part is in words
    addresses.py  fetch.py               wheels that are not on disk yet
    system.py  bytecode.py  compress.py  the two things that an engine executes
    assemble.py                          layers in order, config, manifest, layout
    kept.py                              images that the store remembers
    serve.py  intake.py                  from the store into the engine
"""
