"""Measures models: benchmarks whose answers a program checks, judges and refiners, and two models on the same prompts."""
