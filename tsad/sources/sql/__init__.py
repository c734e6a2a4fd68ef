"""Series from SQL databases, by SQLAlchemy."""
