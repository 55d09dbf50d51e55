"""An aggregator's private REST interface: dispatches by webhook and poll, telemetry every half minute."""
