"""Requests as files for a batch service, and its answers read back."""
