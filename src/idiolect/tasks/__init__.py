"""Tasks: what a person's model is asked, one file per task, looked up by name.

Prompts are short, because each token costs time on a small machine. The parts of a prompt meet at
line breaks or quotes, because each part is tokenized separately. The chat template adds the turn
markers. Items and passages may be shortened from the right when shown, so the most important text
comes first.
"""
