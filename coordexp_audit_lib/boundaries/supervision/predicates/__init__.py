"""What must be true of a target: token roles, records and their fates, masks and gradients, the match."""
