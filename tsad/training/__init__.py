"""From reviewed windows to an adapter: dataset versions, LoRA adapters, the trainer."""
