"""XML documents: their tree, repaired if necessary, and the dialects that read it. Pure."""
