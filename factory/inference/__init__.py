"""Calls models behind OpenAI-compatible endpoints: pacing, budget, journal."""
