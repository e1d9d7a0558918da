"""The leakage audit on adapters that memorized a secret and on adapters that did not."""
