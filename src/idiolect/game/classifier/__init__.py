"""A classifier of word relations: is this a kind, a part, another word, the opposite of that?

Trained on WordNet's pairs and on the game's own; its predictions feed Nym or Not. Importing the
package loads neither torch nor scikit-learn: the site reads predictions from a file.
"""
