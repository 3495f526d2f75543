"""The map as data, tables and a figure."""
