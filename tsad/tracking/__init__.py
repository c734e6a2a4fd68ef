"""Where the loop keeps its record: the only room that imports mlflow."""
