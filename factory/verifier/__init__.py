"""A program that judges: IFEval's checkers over a prompt's own constraints."""
