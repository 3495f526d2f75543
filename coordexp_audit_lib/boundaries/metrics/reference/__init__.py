"""The reference pipeline at this boundary: its accumulator, and a small trainer that logs through it."""
