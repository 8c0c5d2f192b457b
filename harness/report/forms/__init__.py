"""One module a form of table: means, comparisons, ablation, leading, efficiency, published, across datasets."""
