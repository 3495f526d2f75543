"""11: what the pipeline stands on: transformers, ms-swift, vLLM, release by release."""
