"""The contract of a catalogue: who may see which proposal, and where its datasets are.

Every method fails closed: it raises :class:`~panosc_hub.errors.CatalogueUnavailable` when
the catalogue does not answer or answers oddly, and never returns an empty list for that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..core.identity import Person
from ..core.proposals import Dataset, Proposal
from ..errors import NotFound


class Catalogue(ABC):
    """Proposals and datasets as one person may see them."""

    @abstractmethod
    async def proposals(self, person: Person) -> Sequence[Proposal]:
        """The person's proposals, the newest first."""

    @abstractmethod
    async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
        """The datasets of a proposal of the person's.

        Raises ``NotFound`` both for an unknown proposal and for one that is not theirs, so that
        its existence stays unknown.
        """

    async def authorise(
        self, person: Person, proposal_id: str, dataset_pid: str | None
    ) -> tuple[Proposal, Dataset | None]:
        """The proposal and dataset, from fresh membership; called at every spawn.

        Raises ``NotFound`` when the person may not see them, ``CatalogueUnavailable`` when the
        catalogue cannot tell.
        """
        for proposal in await self.proposals(person):
            if proposal.id == proposal_id:
                break
        else:
            raise NotFound(
                f"Proposal {proposal_id} is not among yours. "
                "Ask its principal investigator to add you, or choose another one."
            )
        if dataset_pid is None:
            return proposal, None
        for dataset in await self.datasets(person, proposal_id):
            if dataset.pid == dataset_pid:
                return proposal, dataset
        raise NotFound(f"Dataset {dataset_pid} does not belong to proposal {proposal_id}.")


class NoCatalogue(Catalogue):
    """A facility without a catalogue: no proposals, sessions without data."""

    async def proposals(self, person: Person) -> Sequence[Proposal]:
        """None at all."""
        return ()

    async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
        """There is nothing to find."""
        raise NotFound(f"Proposal {proposal_id} is not among yours.")
