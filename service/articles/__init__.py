"""Articles: from what was found (Entry) to what is kept (Article) and announced (Event). Pure."""
