"""A method as data, checked before the first call."""
