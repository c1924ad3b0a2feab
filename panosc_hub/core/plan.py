"""The plan of one session: computed from what was authorised, never posted by anyone.

``plan_session`` is pure. Backends turn ``mounts`` into what they have (a pod's volumes,
Apptainer binds; nothing where the node already sees the file system); the session start-up,
running as the user, makes the workspace, the links and the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .identity import Person
from .notebook import digest, parameterise
from .profiles import Environment, Profile, Resources
from .proposals import Area, Dataset, DatasetStatus, Proposal, dataset_path
from .quantities import format_gpus, show_duration, show_memory
from .selection import Selection
from .templates import Template, parameter_values

VERSION = 1


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to place in the workspace; never overwrites what the user changed."""

    path: str
    text: str

    def to_dict(self) -> dict[str, str]:
        """As the session start-up reads it."""
        return {"path": self.path, "sha256": digest(self.text), "text": self.text}


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What will be done for one session. ``workspace`` is relative to the user's home."""

    facility: str
    workspace: str | None = None
    areas: tuple[Area, ...] = ()
    files: tuple[PlannedFile, ...] = ()
    open: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    proposal: str | None = None
    instrument: str | None = None
    dataset: str | None = None
    notices: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What the session start-up reads (plan JSON, version 1)."""
        return {
            "v": VERSION,
            "facility": self.facility,
            "proposal": self.proposal,
            "workspace": self.workspace,
            "links": [
                {"name": a.name, "target": a.path, "root": a.root, "mode": str(a.mode)}
                for a in self.areas
            ],
            "files": [f.to_dict() for f in self.files],
            "open": self.open,
            "environment": dict(self.environment),
            "provenance": dict(self.provenance),
        }


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that a backend needs to start one session."""

    plan: SessionPlan
    profile: Profile
    resources: Resources
    environment: Environment
    selection: Selection
    person: Person


def plan_session(
    *,
    facility: str,
    selection: Selection,
    person: Person,
    profile: Profile,
    resources: Resources,
    environment: Environment,
    proposal: Proposal | None = None,
    dataset: Dataset | None = None,
    areas: tuple[Area, ...] = (),
    template: Template | None = None,
) -> SessionPlan:
    """The plan for an *authorised* proposal and dataset.

    Raises ``ValueError`` when the dataset lies outside the proposal's areas or the template
    cannot be filled in; the sentence says which.
    """
    notices: list[str] = []
    variables: dict[str, str] = {"PANOSC_FACILITY": facility}
    known: dict[str, str | None] = {}
    if proposal:
        variables["PANOSC_PROPOSAL"] = known["proposal.id"] = proposal.id
        for area in areas:
            variables[f"PANOSC_DATA_{re.sub(r'[^A-Z0-9]', '_', area.name.upper())}"] = area.path
            known[f"area.{area.name}"] = area.path
    if dataset:
        known |= {"dataset.pid": dataset.pid, "dataset.name": dataset.name}
        variables["PANOSC_DATASET"] = dataset.pid
        path = dataset_path(dataset, areas) if dataset.location else ""
        if path:
            known["dataset.path"] = variables["PANOSC_DATASET_PATH"] = path
        if dataset.status in (DatasetStatus.ARCHIVED, DatasetStatus.RESTORING):
            notices.append(
                f"Dataset {dataset.name} is {dataset.status}: its files are not on disk yet, "
                "so the notebook will not find them."
            )
    files: list[PlannedFile] = []
    opened: str | None = None
    if template:
        values, missing = parameter_values(template.manifest, known)
        if missing:
            notices.append(
                f"{template.manifest.title}: {', '.join(missing)} could not be filled in; "
                "choose a dataset, or set it in the notebook."
            )
        opened = _notebook_name(template.manifest.entrypoint, dataset)
        files.append(PlannedFile(opened, parameterise(template.notebook, values)))
        files += [PlannedFile(name, text) for name, text in sorted(template.files.items())]
    workspace = None
    if proposal or template:
        folder = f"{template.manifest.id}-{template.manifest.version}" if template else "workspace"
        workspace = "/".join(
            ("panosc", facility, proposal.id if proposal else "no-proposal", folder)
        )
    return SessionPlan(
        facility=facility,
        proposal=proposal.id if proposal else None,
        instrument=(proposal.instrument or None) if proposal else None,
        dataset=dataset.name if dataset else None,
        workspace=workspace,
        areas=areas if proposal else (),
        files=tuple(files),
        open=opened,
        environment=variables,
        notices=tuple(notices),
        provenance={
            "user": person.name,
            "selection": selection.to_options(),
            "proposal": proposal.id if proposal else None,
            "dataset": dataset.pid if dataset else None,
            "template": (
                {
                    "id": template.manifest.id,
                    "version": template.manifest.version,
                    "sha256": digest(template.notebook),
                    "source": template.source,
                }
                if template
                else None
            ),
            "profile": profile.id,
            "backend": profile.backend,
            "environment": environment.id,
        },
    )


def _notebook_name(entrypoint: str, dataset: Dataset | None) -> str:
    """One notebook per dataset, so that a second dataset does not meet the first one's edits."""
    stem = entrypoint.removesuffix(".ipynb")
    if not dataset:
        return entrypoint
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", dataset.name).strip(".-")[:80] or "dataset"
    if safe != dataset.name:
        # Two names that become alike must not share a notebook.
        safe += f"-{digest(dataset.pid)[:6]}"
    return f"{stem}-{safe}.ipynb"


def summary(
    selection: Selection,
    profile: Profile,
    resources: Resources,
    template: Template | None,
    said: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The session in words, for the pending page and the home page. Holds no secrets."""
    words: dict[str, Any] = {
        "profile": profile.title,
        "backend": profile.backend,
        "resources": describe(resources),
        "template": template.manifest.title if template else "empty workspace",
    }
    if said:
        words["choices"] = ", ".join(said)
    if selection.proposal:
        words["proposal"] = selection.proposal
    return words


def describe(resources: Resources) -> str:
    """For people: ``4 CPUs, 8 GB memory, GPU a100:1, 4 h``."""
    parts = [
        f"{resources.cpus} CPU{'s' if resources.cpus != 1 else ''}",
        f"{show_memory(resources.memory)} memory",
    ]
    if resources.gpus.count:
        parts.append(f"GPU {format_gpus(resources.gpus)}")
    if resources.walltime:
        parts.append(show_duration(resources.walltime))
    return ", ".join(parts)
