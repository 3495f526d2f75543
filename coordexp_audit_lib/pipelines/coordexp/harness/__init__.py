"""What several boundaries' answers stand on: CoordExp's trainers, dataset, configs and ranks, set up on a CPU once."""
