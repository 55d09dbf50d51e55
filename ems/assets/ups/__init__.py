"""An uninterruptible power supply with backup reserve."""
