"""A platform of the user's own: a class in a module outside of this package, which the policy names."""

from controller.core.ports import Role, Source

SOURCE = Source(Role.PLATFORM, "the platform of your own")
