"""Selects sharers, audits them and adds their pieces to a pool."""
