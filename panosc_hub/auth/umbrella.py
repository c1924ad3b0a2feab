"""Log in with Umbrella, the identity of the photon and neutron community."""

from __future__ import annotations

from traitlets import default

from panosc_hub.auth.facility import FacilityAuthenticator


class UmbrellaAuthenticator(FacilityAuthenticator):
    """Umbrella login. ``issuer`` has no default: ask Umbrella for the one of your registration."""

    @default("login_service")
    def _default_login_service(self) -> str:
        return "Umbrella"
