"""Boundary 05, template: from a record to the tokens that a model is trained on and asked with."""
