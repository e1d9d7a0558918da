"""The game's pages. Each view reads a request, calls one service and renders a template."""
