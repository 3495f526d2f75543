"""What the boundary is asked with, and how a case is asked."""
