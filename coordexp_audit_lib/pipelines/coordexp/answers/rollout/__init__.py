"""How a CoordExp tree answers the surfaces of boundary 08, rollout."""
