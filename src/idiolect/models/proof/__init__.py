"""Proves on a small probe which fast ways of running a base give the plain way's numbers."""
