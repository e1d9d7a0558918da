"""Consent, the ledger, the erasure protocol and the search for personal text."""
