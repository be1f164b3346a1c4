"""The site: a store opened in Datasette."""
