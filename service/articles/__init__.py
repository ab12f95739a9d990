"""Articles: parsed input (Entry), stored articles (Article) and their events (Event). Pure."""
