"""How fast adapters are trained, ours and others': the parts of ``train_throughput.py``."""
