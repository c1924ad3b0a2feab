"""The pure core: no I/O, no traitlets, no tornado; text in, typed values out."""
