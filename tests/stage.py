"""A small facility for the page tests: real site, templates, catalogue and view; no Hub.

``Stage`` stands where ``PanoscSpawner`` stands for the page. Titles are hostile on purpose.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from panosc_hub.backends.base import Availability
from panosc_hub.catalogue.base import Catalogue
from panosc_hub.core.choices import Menu, Option
from panosc_hub.core.identity import Person
from panosc_hub.core.policy import Moment
from panosc_hub.core.profiles import Limits, Profile, tighten
from panosc_hub.core.proposals import Dataset, DatasetStatus, Proposal
from panosc_hub.core.selection import Selection
from panosc_hub.core.site import Site
from panosc_hub.core.templates import Manifest, Template
from panosc_hub.errors import CatalogueUnavailable, NotFound, Problem

HOSTILE = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=1">\'&"'

SAXS, SFX = "PaNET01188", "PaNET01168"

SITE: dict[str, Any] = {
    "facility": {"id": "demo", "title": "Demo facility", "support": "support@facility.example"},
    "areas": {"raw": {"path": "/data/{instrument}/{proposal}/raw"}},
    "environments": [
        {"id": "standard", "title": "Standard 2026.9"},
        {"id": "pyfai", "title": "pyFAI 2026.9"},
        {"id": "torch", "title": "PyTorch 3.1", "backends": ["kubernetes"]},
    ],
    "profiles": [
        {
            "id": "small",
            "title": "Small",
            "description": "for looking at data",
            "backend": "slurm",
            "cpus": {"min": 1, "max": 8, "default": 4},
            "memory": {"min": "2G", "max": "64G", "default": "8G"},
            "walltime": {"min": "30m", "max": "12h", "default": "4h"},
            "environments": ["standard", "pyfai"],
        },
        {
            "id": "a100",
            "title": "GPU A100",
            "backend": "slurm",
            "cpus": 8,
            "memory": "64G",
            "gpus": {"type": "a100", "count": {"min": 1, "max": 4}},
            "walltime": {"min": "1h", "max": "24h", "default": "8h"},
        },
        {
            "id": "exclusive",
            "title": "Exclusive node",
            "backend": "slurm",
            "cpus": 128,
            "memory": "1T",
            "walltime": "24h",
            "allow": {"groups": ["staff"]},
        },
        {
            "id": "medium",
            "title": "Medium",
            "backend": "kubernetes",
            "cpus": 4,
            "memory": "16G",
        },
        {
            "id": "l4",
            "title": "GPU L4",
            "backend": "kubernetes",
            "cpus": 8,
            "memory": "32G",
            "gpus": {"type": "nvidia.com/gpu", "count": {"min": 0, "max": 2, "default": 1}},
        },
        {"id": "gone", "title": "Not here", "backend": "elsewhere", "memory": "1G"},
    ],
}

_PICTURE = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 180">
<rect width="320" height="180" fill="#10243a"/><g fill="none" stroke="#f2b84b" stroke-width="3">
<circle cx="90" cy="90" r="20"/><circle cx="90" cy="90" r="45"/><circle cx="90" cy="90" r="70"/>
</g><path d="M180 150 C200 40 210 40 220 120 S250 150 300 152" fill="none" stroke="#8fb3d9"
stroke-width="4"/></svg>"""


def template(name: str, title: str, *, picture: bool = True, **manifest: Any) -> Template:
    body = {
        "schema": "panosc-hub/template/1",
        "id": name,
        "version": "1.2.0",
        "title": title,
        "entrypoint": "notebook.ipynb",
        "picture": "picture.svg" if picture else None,
        **manifest,
    }
    return Template(Manifest.model_validate(body), "{}", picture=_PICTURE if picture else None)


TEMPLATES = (
    template(
        "azimuthal",
        "Azimuthal integration",
        summary="From detector image to I(q) with pyFAI, and a check of the rings.",
        match={"techniques": [SAXS], "formats": ["NXsas"], "instruments": ["ID02"]},
        requires={"cpus": 2, "memory": "4G"},
    ),
    template(
        "nexus",
        "NeXus browser",
        summary="The tree of a NeXus file and a plot of its default signal.",
        match={"formats": ["NXsas", "NXtas"]},
    ),
    template(
        "reconstruct",
        "Neural reconstruction",
        summary="Three-dimensional reconstruction on a GPU.",
        picture=False,
        match={"techniques": [SFX]},
        requires={"gpus": 1, "memory": "16G"},
    ),
    template("xss", HOSTILE[:100], summary=HOSTILE, match={"techniques": [SFX]}, picture=False),
)


def _many(count: int) -> list[Proposal]:
    titles = ("Phase transitions in perovskites", "Protein folding under load", "Battery ageing")
    return [
        Proposal(
            id=f"MX-{2000 + i}",
            title=f"{titles[i % 3]} {i}",
            instrument=("ID30", "BM29", "ID16")[i % 3],
            start=date(2025, 12, 1) - timedelta(days=i),
            end=date(2025, 12, 4) - timedelta(days=i),
            dataset_count=1000 if i == 0 else i % 5,
        )
        for i in range(count)
    ]


PROPOSALS = [
    Proposal("HG-123", "AgBh calibration", "ID02", date(2026, 1, 12), date(2026, 1, 14), 3),
    Proposal("XSS-1", HOSTILE, "<b>ID99</b>", date(2026, 1, 2), None, 1),
    *_many(198),
]

DATASETS: dict[str, list[Dataset]] = {
    "HG-123": [
        Dataset(
            pid=f"20.500.12345/agbh-{i}",
            name=f"agbh_000{i}",
            size=3_100_000_000 - i * 10**8,
            date=date(2026, 1, 11 + i),
            techniques=(SAXS,),
            format="NXsas",
            status=DatasetStatus.ARCHIVED if i == 3 else DatasetStatus.ONLINE,
        )
        for i in (1, 2, 3)
    ],
    "XSS-1": [Dataset("20.500.12345/x", HOSTILE, format="<i>", techniques=("<b>",))],
    "MX-2000": [
        Dataset(
            f"20.500.12345/mx-{i}",
            f"run_{i:04d}",
            size=i * 10**6,
            techniques=(SFX,),
            format="HDF5",
            status=DatasetStatus.ONLINE,
        )
        for i in range(1000)
    ],
}


ACCOUNTS = Menu(
    "account", "Account", (Option("hg123", note="of HG-123"), Option("mx-2000", "MX 2000")), "hg123"
)
RESERVATIONS = Menu("reservation", "Reservation", (Option("beam_1", "Beamtime", "until 18:00"),))
QOS = Menu("qos", "QOS", (Option("normal"),), "normal")
"""One option: nothing to choose."""


def _menus(profile: Profile, person: Person) -> tuple[Menu, ...]:
    return {"small": (ACCOUNTS, RESERVATIONS, QOS), "a100": (ACCOUNTS,)}.get(profile.id, ())


def choosing(**limits: Any) -> Stage:
    """A stage with menus, two types of GPU, and an environment that takes paths.

    ``limits`` are what Slurm has now; ``small="…"`` says why that profile cannot be had.
    """
    body = copy.deepcopy(SITE)
    body["environments"][1]["paths"] = ["/home/{username}/**", "/software/*/envs/*"]
    body["profiles"][1]["gpus"] |= {"type": ["a100", "h100"], "most": {"h100": 2}}
    gone = {name: limits.pop(name) for name in list(limits) if isinstance(limits[name], str)}

    def offered(profile: Profile) -> Profile | str:
        if profile.id in gone:
            return str(gone[profile.id])
        return tighten(profile, Limits(**limits)) if profile.backend == "slurm" else profile

    facility = StageFacility(site=Site.model_validate(body))
    return Stage(facility=facility, now=Moment(offered=offered, menus=_menus))


IMAGES = Menu(
    "image",
    "Image",
    (Option("quay.io/ours/scipy:2026.9", "SciPy 2026.9"), Option("quay.io/ours/torch:3.1")),
    "quay.io/ours/scipy:2026.9",
    (r"quay\.io/ours/[a-z0-9/-]+:[\w.-]+", r"ghcr\.io/facility/.+@sha256:[0-9a-f]{64}"),
)
TUESDAY = datetime(2026, 1, 13, 12, tzinfo=UTC)
"""In the beam time of HG-123; a Tuesday."""


def mixed(**images: Menu) -> Stage:
    """A stage with Slurm, Kubernetes and this machine on one page; on a Tuesday.

    ``images`` are the menus of profiles instead of ``IMAGES``.
    """
    body = copy.deepcopy(SITE)
    body["profiles"][-1:] = [
        {
            "id": "night",
            "title": "GPU at night",
            "backend": "kubernetes",
            "memory": "64G",
            "gpus": {"type": "1g.10gb"},
            "allow": {
                "windows": [
                    {"days": ["wed"], "from": "20:00", "to": "06:00", "zone": "Europe/Paris"}
                ]
            },
        },
        {
            "id": "beam",
            "title": "Beam time",
            "description": "close to the instrument",
            "backend": "kubernetes",
            "cpus": 16,
            "memory": "64G",
            "allow": {"beamtime": {"after": "2d"}},
        },
        {"id": "here", "title": "Here", "backend": "local", "memory": "2G"},
    ]
    body["catalogue"] = {"kind": "static", "file": "proposals.yaml"}

    def menus(profile: Profile, person: Person) -> tuple[Menu, ...]:
        if profile.backend == "kubernetes":
            return (images.get(profile.id, IMAGES),)
        return _menus(profile, person)

    now = time.time() - 12
    looks = Stage().availability() | {
        "l4": Availability(
            False, None, "1 × nvidia.com/gpu asked for, but no node of the cluster has one", now
        ),
        "night": Availability(True, 4, "starts now", now),
        "beam": Availability(True, 2, "starts now", now),
        "here": Availability(True, None, "", None),
    }
    facility = StageFacility(site=Site.model_validate(body))
    return Stage(facility=facility, looks=looks, now=Moment(menus=menus, clock=lambda: TUESDAY))


@dataclass
class StageCatalogue(Catalogue):
    """Answers at once, slowly, or not at all."""

    mood: str = "ready"

    async def _moody(self) -> None:
        if self.mood == "slow":
            await asyncio.sleep(30)
        if self.mood == "down":
            raise CatalogueUnavailable("The catalogue does not answer; you can start without data.")
        if self.mood == "broken":
            raise RuntimeError("a bug")

    async def proposals(self, person: Person) -> Sequence[Proposal]:
        await self._moody()
        return PROPOSALS

    async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
        await self._moody()
        if proposal_id not in {p.id for p in PROPOSALS}:
            raise NotFound(f"Proposal {proposal_id} is not among yours.")
        return DATASETS.get(proposal_id, [])


@dataclass
class StageFacility:
    """What ``FacilityService`` offers to pages."""

    site: Site = field(default_factory=lambda: Site.model_validate(SITE))
    catalogue: StageCatalogue = field(default_factory=StageCatalogue)
    site_error: str = ""
    published: tuple[Template, ...] = TEMPLATES

    def templates(self) -> tuple[Template, ...]:
        return self.published


@dataclass
class Stage:
    """What ``PanoscSpawner`` offers to pages."""

    facility: StageFacility = field(default_factory=StageFacility)
    owner: Person = field(default_factory=lambda: Person("amember", frozenset({"proposal:HG-123"})))
    last: Selection = field(default_factory=Selection)
    looks: dict[str, Availability] | None = None
    handler: Any = None
    last_problems: tuple[Problem, ...] = ()
    hub: Any = field(default_factory=lambda: SimpleNamespace(base_url="/hub/"))
    now: Moment = field(default_factory=Moment)

    def person(self) -> Person:
        return self.owner

    def remembered(self) -> Selection:
        return self.last

    def moment(self) -> Moment:
        return self.now

    def availability(self) -> dict[str, Availability]:
        if self.looks is not None:
            return self.looks
        now = time.time() - 12
        return {
            "small": Availability(True, 31, "starts now", now, {"cpus": 124}),
            "a100": Availability(
                True, 0, "about 14:20, 2 sessions ahead", now, {"cpus": 48, "gpu:a100": 0}
            ),
            "exclusive": Availability(True, 2, "starts now", now),
            "medium": Availability(True, 12, "starts now", now),
            "l4": Availability(True, 3, "starts now", now),
        }

    def link(self, **fields: str) -> Stage:
        """As if opened with ``?opt-…``."""
        self.handler = _handler("GET", {k: [v] for k, v in fields.items()}, {})
        return self

    def post(self, fields: Mapping[str, Sequence[str]]) -> Stage:
        """As if that form had been refused."""
        body = {k: [v.encode() for v in values] for k, values in fields.items()}
        self.handler = _handler("POST", {}, body)
        return self


def _handler(method: str, link: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
    request = SimpleNamespace(method=method, query_arguments={}, body_arguments=dict(body))
    return SimpleNamespace(request=request, link_options=dict(link), current_user=None)
