"""People: accounts with a name and a password, and guests who have only a session cookie.

Other apps register the data that they keep about people in ``personal_data.py``.
"""
