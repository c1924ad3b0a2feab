"""Authenticators: who a person is, by OpenID Connect."""
