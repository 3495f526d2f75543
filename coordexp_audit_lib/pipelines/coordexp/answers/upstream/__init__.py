"""How a CoordExp tree and its interpreter answer the surfaces of boundary 11, upstream."""
