"""What is remembered: tables, the database, its migrations, and the only SQL in runner."""
