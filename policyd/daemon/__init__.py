"""The composition root: settings, wiring, the loop. The only place where the parts of a controller are built."""
