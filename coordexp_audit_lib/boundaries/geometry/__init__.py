"""03: dataset records, boxes and coordinate bins."""
