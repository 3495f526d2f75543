"""The oracle: a rollout client that names every failure, a plan of calls and seeds, and ranks that fail together."""
