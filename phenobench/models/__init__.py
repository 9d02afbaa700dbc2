"""Adapters: one file a model, named by the model's card."""
