"""LLaMA-Factory's `llamafactory-cli train` of Qwen-VL: supervised fine-tuning, neat packing included, in 0.9.5."""
