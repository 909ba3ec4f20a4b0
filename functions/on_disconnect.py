"""`$disconnect` is best effort: when API Gateway never calls it, sweep.py does its work."""

from presence.entrypoint import disconnect as handler

__all__ = ["handler"]
