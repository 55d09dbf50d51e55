"""Export over its limit that no store can take up: somebody must be told."""

from __future__ import annotations

from collections.abc import Mapping

from ems.guard.guard import Verdict
from ems.guard.unanswered import Unanswered
from ems.site.model import Site
from ems.state.estimate import SiteState

NOTHING_OVER = 0.001  # of the import limit: no export that counts as over its own


class ExportWatch:
    """Follows the export over its limit from cycle to cycle."""

    def __init__(self, site: Site) -> None:
        self.poc = site.point_of_connection
        self._unanswered = Unanswered()

    def said(self, state: SiteState, verdict: Verdict, storage_kw: Mapping[str, float]) -> list[str]:
        """The alarm, once the export has been over its limit for two seconds by more than the stores, told `storage_kw` in the cycle before
        (charging positive), could still take; [] else. Generation is not counted: most of it answers too late."""
        limit_kw = self.poc.export_limit_kw
        over_kw = -state.poc_kw - limit_kw if state.connection.is_fresh else 0.0
        left_kw = sum(max(0.0, verdict.storage[k].high_kw - kw) for k, kw in storage_kw.items() if k in verdict.storage)
        if not self._unanswered.update(state.now, over_kw - NOTHING_OVER * self.poc.import_limit_kw, left_kw):
            return []
        why = f"all stores together could take {left_kw:.0f} kW more"
        return [f"export: {over_kw:.0f} kW over the export limit of {limit_kw:.0f} kW; {why}"]
