"""Results of other groups, published numbers, and several studies as one."""
