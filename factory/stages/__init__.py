"""The stages, one per file (`factory/work/stage.py` says what each defines)."""
