"""Training sets as the files that other trainers read."""
