"""The web pages: the answers of the command line as HTML and JSON, on a loopback port or in one file."""
