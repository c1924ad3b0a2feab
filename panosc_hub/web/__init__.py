"""Pages and JSON endpoints inside the Hub."""
