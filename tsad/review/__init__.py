"""What people see and say: choosing windows, showing them, and turning answers into reviewed windows."""
