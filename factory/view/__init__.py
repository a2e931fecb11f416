"""`factory view`: a lake in the browser."""
