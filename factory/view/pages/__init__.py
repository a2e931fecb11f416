"""The pages, one module each: `ROUTES` are what it answers."""
