"""The claims about records, boxes and bins: one file each."""
