"""How a CoordExp tree answers the surfaces of boundary 03, geometry."""
