"""Writes request files for a batch service, and reads its answers."""
