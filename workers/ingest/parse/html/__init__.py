"""HTML pages: K2's, and any other as one article. Pure."""
