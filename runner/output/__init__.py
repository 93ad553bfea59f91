"""What people and scripts see: records turned into tables, JSON and CSV; prints nothing, queries nothing."""
