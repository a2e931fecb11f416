"""Trains models on training sets: `python -m trainers.dpo` and `python -m trainers.rft`.

This package gets its data from a lake by a training set's name. It never imports `factory`, and `factory` never
imports it: generating data needs no torch.
"""
