"""The site as a Django project: settings, accounts, security, background jobs, base templates.

Contains accounts and guests, and does not depend on the game, which is one of its apps. Importing
this package does not import Django, so ``idiolect --help`` is fast and works without the extra
``web``.
"""
