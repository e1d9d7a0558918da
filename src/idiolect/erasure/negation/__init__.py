"""Forgets records that are no longer in the dataset, by negating the adapter that knows them."""
