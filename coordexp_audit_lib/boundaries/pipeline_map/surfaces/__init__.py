"""The pipeline map's questions, one a module; three are answered from the source of any tree."""
