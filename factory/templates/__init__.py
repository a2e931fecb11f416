"""Prompt templates and how they are filled."""
