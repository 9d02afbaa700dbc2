"""From images to well-level profiles: a plate at a time, each kept as soon as it is whole."""

from phenobench.embedding.plates import Progress, embed, features_of_sites

__all__ = ["Progress", "embed", "features_of_sites"]
