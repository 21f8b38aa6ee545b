"""On the node: the CSI driver, the store of verified bytes, fetch and check."""
