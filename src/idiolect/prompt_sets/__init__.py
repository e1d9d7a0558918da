"""Sets of prompts with responses: named sets, file formats, splits."""
