"""How a CoordExp tree answers the surfaces of boundary 06, packing."""
