"""A catalogue in a YAML file: for demos, small facilities and nightly exports.

::

    proposals:
      - id: HG-123
        title: AgBh calibration
        instrument: ID02
        members: {groups: ["proposal:HG-123"], users: []}
        datasets:
          - {pid: 20.500.12345/1, name: agbh_0001, location: "{data}/ID02/HG-123/raw/agbh_0001"}

A proposal without members belongs to nobody. The file is read again when it changes.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from ..core.identity import Person
from ..core.profiles import Model
from ..core.proposals import Area, Dataset, DatasetStatus, Proposal, dataset_path
from ..core.selection import DATASET_PID
from ..errors import CatalogueUnavailable, NotFound, SiteError
from ..site import (
    Mistake,
    SiteMistakes,
    Watched,
    line_of,
    mistakes_of,
    plain,
    read_yaml,
)
from .base import Catalogue


class Members(Model):
    """Who belongs to a proposal; any match is enough."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def include(self, person: Person) -> bool:
        """Whether ``person`` is one of them."""
        return person.name in self.users or bool(person.groups.intersection(self.groups))


class DatasetEntry(Model):
    """One dataset in the file."""

    pid: str = Field(pattern=DATASET_PID)
    name: str = Field(min_length=1, max_length=128)
    location: str = ""
    size: int | None = Field(default=None, ge=0)
    files: int | None = Field(default=None, ge=0)
    date: datetime.date | None = None
    techniques: tuple[str, ...] = ()
    format: str = ""
    status: DatasetStatus = DatasetStatus.UNKNOWN


class ProposalEntry(Model):
    """One proposal in the file."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")
    title: str = Field(default="", max_length=300)
    instrument: str = ""
    start: datetime.date | None = None
    end: datetime.date | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    members: Members = Field(default_factory=Members)
    datasets: tuple[DatasetEntry, ...] = ()


class ProposalFile(Model):
    """The whole file."""

    proposals: tuple[ProposalEntry, ...] = ()


def read_proposals(path: Path) -> ProposalFile:
    """The checked file; raises ``SiteError`` with all mistakes."""
    document = read_yaml(path)
    try:
        return ProposalFile.model_validate(plain(document))
    except ValidationError as error:
        raise SiteMistakes(mistakes_of(error, document, str(path))) from error


class StaticCatalogue(Catalogue):
    """Answers from the file; ``variables`` fill ``{data}`` and the like in locations."""

    def __init__(self, path: Path, variables: Mapping[str, str], log: logging.Logger) -> None:
        self._file: Watched[ProposalFile] = Watched(path, read_proposals, log)
        self._variables = dict(variables)

    def _entries(self) -> Sequence[ProposalEntry]:
        try:
            return self._file.get().proposals
        except SiteError as error:
            raise CatalogueUnavailable(
                "The list of proposals cannot be read. Start without data, or try again later."
            ) from error

    async def proposals(self, person: Person) -> Sequence[Proposal]:
        """The person's proposals, the newest first."""
        mine = [entry for entry in self._entries() if entry.members.include(person)]
        mine.sort(key=lambda e: (e.start or datetime.date.min, e.id), reverse=True)
        return [_proposal(entry) for entry in mine]

    async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
        """The datasets of one of the person's proposals."""
        for entry in self._entries():
            if entry.id == proposal_id and entry.members.include(person):
                return [self._dataset(d) for d in entry.datasets]
        raise NotFound(f"Proposal {proposal_id} is not among yours.")

    def _dataset(self, entry: DatasetEntry) -> Dataset:
        location = entry.location
        for name, value in self._variables.items():
            location = location.replace("{" + name + "}", value)
        return Dataset(**{**entry.model_dump(), "location": location})

    def mistakes(self, areas_of: Callable[[Proposal], tuple[Area, ...]]) -> tuple[Mistake, ...]:
        """Every entry that could not be used; ``areas_of`` is the facility's layout."""
        path = self._file.path
        try:
            file = read_proposals(path)
        except SiteMistakes as error:
            return error.mistakes
        document = read_yaml(path)
        found: list[Mistake] = []

        def note(where: tuple[str | int, ...], name: str, message: str) -> None:
            found.append(Mistake(str(path), line_of(document, where), name, message))

        ids = [entry.id for entry in file.proposals]
        for index, entry in enumerate(file.proposals):
            where: tuple[str | int, ...] = ("proposals", index)
            if ids.index(entry.id) != index:
                note(where, entry.id, "is in the file twice")
            try:
                areas = areas_of(_proposal(entry))
            except ValueError as error:
                note(where, entry.id, str(error))
                continue
            for number, dataset in enumerate(entry.datasets):
                try:
                    if dataset.location:
                        dataset_path(self._dataset(dataset), areas)
                except ValueError as error:
                    note((*where, "datasets", number), entry.id, str(error))
        return tuple(found)


def _proposal(entry: ProposalEntry) -> Proposal:
    return Proposal(
        id=entry.id,
        title=entry.title,
        instrument=entry.instrument,
        start=entry.start,
        end=entry.end,
        dataset_count=len(entry.datasets),
        fields=entry.fields,
    )
