"""The example facility: three proposals, their data, template notebooks and a login."""
