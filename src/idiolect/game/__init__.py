"""KnowYourNyms: a word game whose answers show how people relate words.

This package holds the rules (`rules`), the words (`words`, `wordnet`), the classifier of word
relations (`classifier`) and the export of played rounds (`export`). None of them imports Django;
the site's app is `idiolect.web.game`. Importing this package loads none of its modules.
"""
