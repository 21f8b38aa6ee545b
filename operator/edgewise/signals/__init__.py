"""Latency and load from the routers, as plain numbers."""
