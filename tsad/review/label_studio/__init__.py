"""People review in Label Studio: the server, its API, the project, and tasks to and fro."""
