"""Configuration of the site from environment variables: data folder, secret, hosts, database.

``idiolect.web.settings`` turns it into Django settings. Knows nothing of Django.
"""
