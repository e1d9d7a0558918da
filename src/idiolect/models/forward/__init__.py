"""Parts and variants of the forward pass of the base model."""
