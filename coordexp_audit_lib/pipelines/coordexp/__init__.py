"""CoordExp: Qwen3-VL fine-tuned with ms-swift, Stage 1 and Stage 2 "AB". Everything that is its own stands here."""
