"""An OCI registry, spoken to directly: what the engine cannot ask for, or has not to do.

A name and an environment come in; manifests, blobs and referrers go in and out, every one
compared with its digest. Our own, because no package for it speaks of referrers: docker has none
of this, and `oras` (0.2) lists none, keeps no fallback index, and takes 0.3 s to import.
"""
