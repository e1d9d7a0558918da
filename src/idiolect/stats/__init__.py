"""Statistics of evaluations: metrics, paired tests, and AUC."""
