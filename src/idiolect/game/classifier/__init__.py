"""A classifier of word relations: is one word a kind, a part, a synonym or an antonym of another?

It is trained on pairs from WordNet and from the game, and its predictions supply Nym or Not with
pairs. Importing the package loads neither torch nor scikit-learn: the site reads the predictions
from a file.
"""
