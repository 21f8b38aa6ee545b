"""edgewise: a declarative operator for AI at the edge."""

__version__ = "0.1.0"
