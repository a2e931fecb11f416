"""Judges by program: IFEval's checkers for a prompt's constraints."""
