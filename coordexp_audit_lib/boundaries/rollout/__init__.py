"""Rollouts from vLLM servers: requests, responses, chunks, seeds, and ranks that fail together."""
