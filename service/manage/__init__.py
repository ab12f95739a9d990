"""What API and CLI do alike, written once: they check, change and show what the store keeps."""
