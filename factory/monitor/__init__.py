"""What a run shows while it is active, and its results."""
