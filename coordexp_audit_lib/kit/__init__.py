"""What both sides of the wall share: real parts and rules. Standard library only at import, Python 3.10 and later."""
