"""What rows and settings are: tables, ids, settings and the one error type. Imports nothing else of the project."""
