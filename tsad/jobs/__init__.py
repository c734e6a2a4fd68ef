"""Jobs: verbs that a service runs. A job is an MLflow run; a queue carries its id; a process of its own does the work.

``folder`` is what that process and the service tell each other.
"""
