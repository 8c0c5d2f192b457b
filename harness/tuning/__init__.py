"""The search for a protocol of each network on each dataset, with equal effort and on validation cases only."""
