"""Where sessions run: one contract (``base``) and its implementations."""
