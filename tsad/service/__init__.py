"""The HTTP face: one FastAPI application that grows. Its process imports neither torch nor MLflow until it has to.

``app`` puts it together, ``errors`` is the one body of every error, ``access`` the token, ``bodies`` and ``gate`` the
limits, ``running`` uvicorn in a thread of the call. ``backend`` is Label Studio's ML backend, ``hooks`` where its
webhooks arrive, ``face`` what the command line hands to the verbs.
"""
