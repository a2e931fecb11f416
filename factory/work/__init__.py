"""What a stage is given and gives back."""
