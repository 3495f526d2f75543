"""Renderings of findings: tables, SARIF, JUnit, LaTeX, the book."""
