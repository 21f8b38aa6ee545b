"""Pure: nodes become sites, accelerators and what is free on them."""
