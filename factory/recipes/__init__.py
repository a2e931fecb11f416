"""Methods as data, checked before the first call."""
