"""The book's generated pages: the result, what was found, the claims, each boundary's findings, and other commits."""
