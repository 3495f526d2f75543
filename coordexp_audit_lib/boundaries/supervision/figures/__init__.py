"""The numbers behind the figures, their drawing, and the tables."""
