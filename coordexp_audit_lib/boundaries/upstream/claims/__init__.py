"""What the pipeline uses of upstream is there, as it is used, and does what it is used for."""
