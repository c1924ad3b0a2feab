"""People who belong to a facility by the entitlements that eduTEAMS-like proxies release."""

from __future__ import annotations

from typing import Any

from traitlets import Integer, Set, TraitError, Unicode, default

from panosc_hub.auth.accounts import Identity
from panosc_hub.auth.oidc import OIDCAuthenticator
from panosc_hub.auth.problems import NotLinked
from panosc_hub.core.entitlements import EntitlementPolicy


class FacilityAuthenticator(OIDCAuthenticator):
    """Groups from entitlements; a person without a group of the facility is kept out.

    With ``entitlement_namespace = "urn:geant:umbrella.example"``, ``entitlement_authority =
    "umbrella.example"`` and ``group_root = "umbrella:demo"``, the entitlement
    ``urn:geant:umbrella.example:group:umbrella:demo:proposal:HG-123#umbrella.example`` becomes
    the Hub group ``proposal:HG-123``.
    """

    entitlement_claim = Unicode(
        "eduperson_entitlement", config=True, help="Claim of userinfo that holds the entitlements."
    )

    entitlement_namespace = Unicode(
        config=True,
        help="""
        What comes before ``:group:`` in the entitlements of your groups, for example
        ``urn:geant:umbrella.example``. Compared character by character.
        """,
    )

    entitlement_authority = Unicode(
        config=True,
        help="""
        What comes after ``#`` in the entitlements of your groups, for example
        ``umbrella.example``. It is required: the authority says who manages the group.
        """,
    )

    group_root = Unicode(
        config=True,
        help="""
        The group below which the groups of the facility are, for example ``umbrella:demo``. It
        is taken off, so ``umbrella:demo:instrument:id02`` is the Hub group ``instrument:id02``.
        """,
    )

    root_group = Unicode(
        config=True,
        help="""
        Hub group of those who are member of ``group_root`` itself, for example ``members``.
        If empty, that membership alone does not let anybody in.
        """,
    )

    max_entitlements = Integer(
        1000,
        min=1,
        config=True,
        help="""
        Greatest number of entitlements of one person; with more the login is refused. Instrument
        scientists have some hundreds; 10 000 are a mistake or an attack on the Hub's database.
        """,
    )

    subject_scope = Unicode(
        config=True,
        help="""
        What the ``sub`` of every person ends with after ``@``, for example ``eduteams.org``.
        Others are refused. If empty, the scope is not checked.
        """,
    )

    refused_subjects = Set(
        Unicode(),
        config=True,
        help="""
        Values of ``sub`` that never log in, besides ``test@…``, which eduTEAMS keeps for its
        monitoring.
        """,
    )

    @default("manage_groups")
    def _default_manage_groups(self) -> bool:
        return True

    @default("admin_groups")
    def _default_admin_groups(self) -> set[str]:
        return {"admins"}

    @default("scope")
    def _default_scope(self) -> list[str]:
        # offline_access lets the Hub ask again without the person; eduTEAMS grants it on request.
        return ["openid", "profile", "email", "eduperson_entitlement", "offline_access"]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        for trait in ("entitlement_namespace", "entitlement_authority", "group_root"):
            if not getattr(self, trait):
                raise TraitError(f"c.{name}.{trait} is not set: without it nobody is let in")
        try:
            self.policy = EntitlementPolicy(
                namespace=self.entitlement_namespace,
                authority=self.entitlement_authority,
                root=self.group_root,
                root_group=self.root_group,
                limit=self.max_entitlements,
            )
        except ValueError as error:
            raise TraitError(f"c.{name}: {error}") from error

    def multi_claims(self) -> frozenset[str]:
        return frozenset({self.entitlement_claim})

    def groups_of(self, identity: Identity) -> frozenset[str]:
        """The groups of the facility; raises NotLinked for people who have none."""
        self._check_subject(identity.subject)
        groups = self.policy.groups(identity.claims.get(self.entitlement_claim, ()))
        if not groups:
            raise NotLinked(
                f"{identity.subject} has no group of {self.group_root}", subject=identity.subject
            )
        return groups

    def _check_subject(self, subject: str) -> None:
        user, _, scope = subject.rpartition("@")
        if self.subject_scope and (not user or scope.casefold() != self.subject_scope.casefold()):
            raise NotLinked(f"{subject} is not of {self.subject_scope}", subject=subject)
        if subject in self.refused_subjects or user.casefold() == "test":
            raise NotLinked(f"{subject} is not a person", subject=subject)
