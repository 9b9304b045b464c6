"""Unmodified ASE code for many structures, whose force calls are evaluated together.

::

    map ── Inputs ── Hub ── SessionCalls ── Session (one worker)
                      │ a greenlet for each structure
                      └── function(atoms) ── TaskCalculator ── Task

A calculator's call switches to the hub, which collects the calls of all structures, has them
evaluated in one request and switches back. With several processes, each has a hub and a worker.
"""
