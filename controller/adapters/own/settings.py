"""What a platform of the user's own may read: the environment. It declares no variable here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.adapters.own import SOURCE
from controller.config.platform import PlatformSettings
from controller.core.text.references import References


@dataclass(frozen=True, slots=True)
class OwnAccess:
    """environment: of the process. A secret in it is masked by its name, such as one that ends with TOKEN."""

    environment: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = ()


OWN = PlatformSettings(
    name=SOURCE.name,
    target="platform",
    variables=(),
    # It has none, and these match nothing.
    references=References(SOURCE.name, "\0", "\0", "", re.compile(r"(?!)"), ""),
    load=OwnAccess,
    warnings=lambda _: (),
    group="",
    group_in_words="",
    replica="",
    change_timeout="",
    opens="controller.adapters.own.platform:OwnPlatforms",
)
