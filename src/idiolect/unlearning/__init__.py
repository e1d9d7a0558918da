"""Knowledge taken out of a base model or an adapter, and the proof that it is gone."""
