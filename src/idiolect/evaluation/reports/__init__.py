"""Reports: JSON files, HTML pages, pictures and terminal tables of measured results."""
