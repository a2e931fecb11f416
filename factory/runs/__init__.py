"""The run loop: prompts flow through the stages, rows into the lake."""
