"""Log in with eduTEAMS, the proxy of GÉANT that also carries Umbrella."""

from __future__ import annotations

from traitlets import default

from panosc_hub.auth.facility import FacilityAuthenticator


class EduTeamsAuthenticator(FacilityAuthenticator):
    """eduTEAMS login. For another service of the platform set ``issuer`` and ``subject_scope``."""

    @default("issuer")
    def _default_issuer(self) -> str:
        return "https://proxy.eduteams.org"

    @default("subject_scope")
    def _default_subject_scope(self) -> str:
        return "eduteams.org"

    @default("login_service")
    def _default_login_service(self) -> str:
        return "eduTEAMS"
