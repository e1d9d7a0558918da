"""The game's pages: read a request, call one service, render; no rule and no sum is made here."""
