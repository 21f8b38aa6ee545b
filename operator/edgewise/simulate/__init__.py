"""A fleet in virtual time: queues, links and routers, driven by the same pure code as the real ones."""
