"""Corpora of the user's documents: importing them, and finding the passages that say something on a claim."""
