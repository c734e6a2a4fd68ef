"""One thin file per verb: call what answers with a result, then present it. Nothing else in the package prints.

A verb's module has ``keys_model``, the model of its own keys, and ``run(bench, keys, console)``, which gives the result
back: its exit code and what a sweeper optimises are taken from it.
"""
