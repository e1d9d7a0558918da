"""Reports: tables, pages and pictures from measured results."""
