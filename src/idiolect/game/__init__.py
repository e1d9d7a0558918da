"""KnowYourNyms: a word game whose answers say how people relate words; an app of the site.

The rules (`rules`), the words (`words`) and what leaves the game as data know nothing of Django;
the app around them does. Importing this package loads none of them.
"""
