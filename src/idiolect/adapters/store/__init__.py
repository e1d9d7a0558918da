"""The store of many people's adapters on disk, and what it shares with other stores and pools."""
