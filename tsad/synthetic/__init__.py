"""Series and anomalies made to order: for pre-training, for replay and for the demo's plant."""
