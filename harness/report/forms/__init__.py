"""One module a form of table: means, medians, differences, ablation, leading modality, efficiency, published."""
