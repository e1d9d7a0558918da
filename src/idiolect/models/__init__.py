"""Base models, their forward passes, and the sentence encoder. The lowest package that imports
torch."""

import logging

# transformers imports torchao if it is installed. torchao then lists the kernels that this machine
# lacks, and torch warns about how torchao registers its types: nothing that a user can act on.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
