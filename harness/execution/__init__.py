"""Running cells: what one cell does, and the engines that run many."""
