"""Search spaces of data filters, one a file; a space's name is its filter's name. The settings that
need no new training or pass vary first, so that the points of a short list are cheap.
"""
