"""The door for SQL that is not this project's own: checked on DuckDB's syntax tree, then asked in a confined process."""
