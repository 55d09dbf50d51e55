"""The field loop: read, estimate, guard, arbitrate, write, record."""
