"""Where proposals and datasets come from."""
