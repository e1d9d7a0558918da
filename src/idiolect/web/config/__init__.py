"""Configuration of the site from environment variables: data folder, secret, hosts, database.

``idiolect.web.settings`` turns it into Django settings. Does not depend on Django.
"""
