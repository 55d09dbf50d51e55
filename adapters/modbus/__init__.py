"""Modbus/TCP: pages of data, pure register codecs, a guarded link."""
