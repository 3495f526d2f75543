"""Pipelines: how to ask each family of targets. Their answers run in a target's interpreter, on `kit` alone."""
