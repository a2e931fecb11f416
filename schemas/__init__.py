"""What a row is: the tables, their ids and the one error type. Knows nobody else in the project."""
