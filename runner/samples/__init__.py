"""Sample trees written from recipes, with the same names, contents and times on every machine."""
