"""The site's database as files: removal of what was deleted from them, and backup."""
