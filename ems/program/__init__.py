"""Grid programmes: terms as data, baselines, offers, the event state machine, settlement and evidence. The wire stands in adapters/."""
