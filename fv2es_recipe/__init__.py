"""A recipe: one file from a raw corpus to a table. Only this package knows both floors below."""
