"""The words of the command line and the values of the configuration, checked before any work starts."""
