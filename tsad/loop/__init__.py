"""An iteration of a loop: its stages, and what they share.

The main path, from the command line to a promoted adapter:

1. ``tsad/cli.py``: words to a verb
2. ``tsad/verbs/iterate.py``: calls, and presents where the loop stands
3. ``tsad/loop/iteration.py``: the stages in order, and the states between them
4. ``tsad/loop/train.py``: TRAIN and REGISTER, reviewed windows to a challenger
5. ``tsad/loop/promote.py``: PROMOTE, the gate and the champion's alias

Each stage is a value (``runner.Stage``) in the module that does its work; ``runner.run`` runs them all; ``results``
holds what they answer.
"""
