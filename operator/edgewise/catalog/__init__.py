"""Facts about accelerators and inference servers, as data."""
