"""Detectors whose network is a language model: series or plots go into a prompt, the answer says what is abnormal."""
