"""Figures: the layout of a plan and the ribbon of a batch; what a real model and the position rows show."""
