"""The reference: both channels on a real small model, and the pieces that they are made of."""
