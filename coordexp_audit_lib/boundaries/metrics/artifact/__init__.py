"""Logs as files: JSON lines, trainer_state.json and TensorBoard event files."""
