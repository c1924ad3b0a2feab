"""Proposals and datasets as rows for the lists, the script and the JSON API. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.access import Beamtime, zone_of
from ..core.identity import Person
from ..core.policy import Moment
from ..core.proposals import Dataset, DatasetStatus, Proposal
from ..core.quantities import human_memory
from ..core.site import Site
from ..core.techniques import short_name, words_for
from ..core.templates import Fit, Template, rank
from . import words

ARCHIVED = "The files are not on disk. Restoring is asked for at your facility's portal."


@dataclass(frozen=True, slots=True)
class Beam:
    """The profiles that are for a beam time, and by which clock that is judged."""

    profiles: Mapping[str, Beamtime]
    now: datetime
    zone: str

    @classmethod
    def of(cls, site: Site, person: Person, moment: Moment) -> Beam:
        """For ``person`` at this moment."""
        return cls(site.beamtimes(person), moment.clock(), site.facility.zone)

    def outside(self, proposal: Proposal) -> dict[str, str]:
        """By profile, why it is not for ``proposal`` now; empty texts for those that are."""
        if not self.profiles:
            return {}
        zone = zone_of(self.zone)
        return {
            name: only.outside(proposal, self.now, zone) for name, only in self.profiles.items()
        }

    def why_not(self, proposal: Proposal | None) -> dict[str, str]:
        """By profile, the whole reason for those that are not for ``proposal`` now."""
        zone = zone_of(self.zone)
        found = ((n, only.why_not(proposal, self.now, zone)) for n, only in self.profiles.items())
        return {name: why for name, why in found if why}


def proposal_json(proposal: Proposal, beam: Beam | None = None) -> dict[str, Any]:
    """A proposal for the list and for the script.

    Where there are profiles for beam times, ``beam`` names those that are for this proposal now,
    and ``beam_why`` tells when the others were or will be.
    """
    count = proposal.dataset_count
    about = [
        proposal.instrument,
        words.dates(proposal.start, proposal.end),
        "" if count is None else words.plural(count, "dataset"),
    ]
    row: dict[str, Any] = {
        "id": proposal.id,
        "title": proposal.title,
        "about": " · ".join(a for a in about if a),
        "find": f"{proposal.id} {proposal.title} {proposal.instrument}".lower(),
    }
    if beam is not None and (outside := beam.outside(proposal)):
        row["beam"] = [name for name, why in outside.items() if not why]
        row["beam_why"] = next(filter(None, outside.values()), "")
    return row


def dataset_json(dataset: Dataset) -> dict[str, Any]:
    """A dataset for the list, the script and the JSON API."""
    size = "" if dataset.size is None else human_memory(dataset.size)
    day, status = words.day(dataset.date), str(dataset.status)
    about = (size, day, ", ".join(short_name(t) for t in dataset.techniques), dataset.format)
    known = " ".join(words_for(t) for t in dataset.techniques)
    find = f"{dataset.name} {known} {dataset.format} {dataset.date or ''} {day} {status}"
    return {
        "pid": dataset.pid,
        "name": dataset.name,
        "size": dataset.size,
        "date": dataset.date.isoformat() if dataset.date else None,
        "techniques": list(dataset.techniques),
        "format": dataset.format,
        "status": status,
        "note": ARCHIVED if dataset.status is DatasetStatus.ARCHIVED else "",
        "about": " · ".join(part for part in about if part),
        "find": find.lower(),
    }


def datasets_json(
    templates: Iterable[Template], proposal: Proposal | None, datasets: Sequence[Dataset]
) -> dict[str, Any]:
    """Datasets with how well each template suits them.

    ``fits`` holds one table per *kind* of dataset (techniques and format), and every dataset
    names its table by number, for a proposal may have a thousand alike. Table 0 is for the
    proposal without a dataset.
    """
    known = tuple(templates)
    fits = [fit_table(rank(known, proposal, None))]
    kinds: dict[tuple[tuple[str, ...], str], int] = {}
    rows = []
    for dataset in datasets:
        kind = (dataset.techniques, dataset.format)
        if kind not in kinds:
            kinds[kind] = len(fits)
            fits.append(fit_table(rank(known, proposal, dataset)))
        rows.append({**dataset_json(dataset), "fit": kinds[kind]})
    return {"datasets": rows, "fits": fits}


def fit_table(fits: Iterable[Fit]) -> dict[str, dict[str, Any]]:
    """How well each template suits, and why, by its id."""
    return {f.template.id: {"rank": f.rank, "why": f.why} for f in fits}
