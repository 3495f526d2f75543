"""Which of a CoordExp tree's functions answers each surface, and how.

These modules are read twice: by the audit, for the names of the symbols (it locates them in the tree
without importing it), and by the worker, in the target's own interpreter, to call them. So they use the standard
library only, at import time, on Python 3.10 and later.
"""
