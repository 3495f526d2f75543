"""How a CoordExp tree answers the surfaces of boundary 07, supervision."""
