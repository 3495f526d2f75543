"""What must be true of what a reader made of a text, and of which text reaches which parser."""
