"""The three kinds of target: checkout (live), recording (kept answers), reference (the oracle)."""
