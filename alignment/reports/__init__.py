"""What an alignment found, as an object, a text, a table, a page and files."""
