"""i-PI with other programs, in both directions: plain i-PI in atomic units.

``server`` and ``client`` implement the protocol; ``calculator`` is the ASE calculator whose results
come from an external client; ``driver`` lets an external server use a model.
"""
