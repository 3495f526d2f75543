"""How a CoordExp tree answers the surfaces of boundary 10, provenance."""
