"""i-PI with other programs, in both directions: plain i-PI in atomic units.

``server`` and ``client`` speak the protocol; ``calculator`` is the ASE calculator whose numbers
come from an external client; ``driver`` lets an external server use a model.
"""
