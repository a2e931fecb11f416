"""What is said of an answer, and what it comes to."""
