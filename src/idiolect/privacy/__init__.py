"""Consent, the event ledger, the erasure protocol, and the search for personal text in files."""
