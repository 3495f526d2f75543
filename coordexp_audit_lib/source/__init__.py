"""Reading source without running it: trees, names, data flow, packages."""
