"""The vocabulary every room speaks: types, errors, interval and window arithmetic, options."""
