"""The site as a Django project: settings, accounts, security, background jobs, look.

Knows people as accounts and guests; knows nothing of the game, which is an app of it. Importing
this loads no Django: ``idiolect --help`` stays quick, and the extra ``web`` may be missing.
"""
