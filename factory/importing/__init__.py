"""Preference and scored data of others as ordinary rows."""
