"""The claims about the trainer's forward and loss, one a file."""
