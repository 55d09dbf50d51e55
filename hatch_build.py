"""Puts config/ and migrations/ into a built wheel as ems/_bundled/, and leaves an editable install without a copy of them.

The plain `force-include` table would copy them into an editable install too, where the copy goes stale unseen.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("config", "migrations")


class BundleHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        for name in BUNDLED:
            build_data["force_include"][str(Path(self.root, name))] = f"ems/_bundled/{name}"
