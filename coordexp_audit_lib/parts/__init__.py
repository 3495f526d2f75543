"""Real parts for checks: the real Qwen byte-pair tokenizer (and, later, a small real Qwen3-VL)."""
