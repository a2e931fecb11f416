"""Doing it again: lock files, repeated trainings and runs, and what they come out as."""
