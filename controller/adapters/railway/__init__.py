"""Railway: reads and sets the replica counts of an environment's services over its public GraphQL API."""

from controller.adapters.railway.platform import RailwayPlatform

__all__ = ["RailwayPlatform"]
