"""The Django app of the word game KnowYourNyms: models, services, pages and a JSON API."""
