"""TRL's `SFTTrainer`: packed text, and vision-language data, in 0.24 and 1."""
