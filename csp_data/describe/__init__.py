"""Cards for readers and other programs: Markdown pages, Croissant documents, citations."""
