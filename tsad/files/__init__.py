"""Writing files whole or not at all, their digests, where shipped folders lie."""
