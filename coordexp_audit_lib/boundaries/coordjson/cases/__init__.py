"""Texts to ask about: generated, at the fringe of the contract, and from real rollouts."""
