"""The dependencies by the names that their adapters give them."""

from controller.adapters.postgres import SOURCE as POSTGRESQL
from controller.adapters.railway import SOURCE as RAILWAY
from controller.adapters.redis import SOURCE as REDIS
from controller.core.ports import Sources

SOURCES = Sources(POSTGRESQL, RAILWAY, REDIS)

__all__ = ["POSTGRESQL", "RAILWAY", "REDIS", "SOURCES"]
