"""What is asked of a person's model: one file a task, found by name.

Wordings are short, since each token of a prompt costs time on a small machine. A prompt's parts
meet at line breaks or quotes, because they become tokens one by one; the answer's turn is opened by
whoever renders the chat. Memories and passages may be shortened from the right by whoever shows
them, so what matters most stands first there.
"""
