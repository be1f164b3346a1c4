"""Files of other programs and formats, in and out: one module a format, with its `import_...` and `export_...`."""
