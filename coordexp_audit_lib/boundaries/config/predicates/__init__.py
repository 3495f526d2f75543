"""What must be true of configs, of chains of files, and of the errors about them, over plain values."""
