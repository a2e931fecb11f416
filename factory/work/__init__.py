"""What stages receive and return."""
