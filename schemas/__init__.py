"""What rows and settings are: tables, ids, settings and the one error type; and what every program here is started with:
its signals and standard streams. Imports nothing else of the project."""
