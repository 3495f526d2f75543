"""How a CoordExp tree answers the surfaces of boundary 05, template."""
