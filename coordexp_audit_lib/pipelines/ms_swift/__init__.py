"""ms-swift's own `swift sft`: packing and padding-free training of Qwen-VL, in 3.10 and 4."""
