"""The ``panosc-hub`` command."""
