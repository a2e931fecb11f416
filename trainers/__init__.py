"""What turns a training set into weights: started as `python -m trainers.NAME` (dpo, rft, sft, sppo, reward, online).

All that this package knows of the lake is a training set's name. It never imports `factory`, and `factory` never
imports it: making data needs no torch.
"""
