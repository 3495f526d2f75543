"""What is asked: variations of a config that the target accepts."""
