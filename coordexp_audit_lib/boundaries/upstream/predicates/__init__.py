"""What must be true of an upstream release: what it has (`contracts`, `verdicts`), and what it does (the rest)."""
