"""The reference: this library's own writer of a run's manifest, and the oracle's answers with it."""
