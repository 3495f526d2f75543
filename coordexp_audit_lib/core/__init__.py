"""The audit's grammar: surfaces, targets, invariants, findings. It knows no boundary."""
