"""The rules of the game: values in, values out; no Django, no clock, no randomness of their own.

What is random comes from a `random.Random` that is passed in, and so does the time. Who plays,
where rounds are kept, and which words there are is not known here.
"""
