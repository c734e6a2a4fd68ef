"""``qwen_vl``: vision-language models of the Qwen3-VL and Qwen3.5 families that see a plot of the window."""
