"""Self-play: rounds of a recipe whose models are trained on what the round before has made."""
