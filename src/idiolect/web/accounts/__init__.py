"""Who plays: accounts with a name and a password, and guests who are only a cookie.

Knows people and their sessions; what else is kept of somebody is told by its holders.
"""
