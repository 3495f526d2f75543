"""What must be true of a metrics log, and how a pipeline names what it logs."""
