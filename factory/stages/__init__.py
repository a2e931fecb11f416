"""The stages: each file is one, and is found by being here (`factory/work/stage.py` says what it has to hold)."""
