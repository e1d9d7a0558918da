"""The site as a Django project: settings, accounts, security, background jobs, base templates.

Knows accounts and guests, but nothing of the game, which is one of its apps. Importing this package
does not import Django, so ``idiolect --help`` is fast and works without the extra ``web``.
"""
