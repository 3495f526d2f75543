"""What must be true of bins, of dataset records and of the assistant text that a record becomes."""
