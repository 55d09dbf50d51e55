"""An IT cluster whose interactive, batch and training work can be throttled or deferred at a price."""
