"""LoRA adapters: put on a network, checked, loaded, saved, named by their content."""
