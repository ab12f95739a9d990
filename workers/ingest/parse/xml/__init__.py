"""XML documents: a tree of them, whatever is wrong with it, and the dialects that read the tree.
Pure."""
