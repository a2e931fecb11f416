"""The audit: whether a training set is fit to train on, found out from its rows and their lineage, without a model call."""
