"""Training and Inference Pipeline Certification: chains from training to serving, judged step by step."""
